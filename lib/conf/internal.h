#ifndef MAILFS_CONF_INTERNAL_H
#define MAILFS_CONF_INTERNAL_H

/* Between the files of lib/conf: what a value, a volume and two volumes must be. Any thread. */

#include <stddef.h>

#include "conf/conf.h"

/*
 * 0, or -EINVAL and *why a static text that completes "OPTION ..." ("must be ..."). A name has
 * 1 to 63 letters, digits, - _ . and begins with a letter or a digit, so that it is a good file
 * name.
 */
int conf_check_name(const char *s, const char **why);
int conf_check_path(const char *s, const char **why);

/* Without "//" and a slash at the end; malloc'ed, NULL when out of memory. */
char *conf_path_copy(const char *s);

/* "500", "64K", "10M", "2G" (1024 each). 0 or -EINVAL. */
int conf_size_parse(const char *s, uint64_t *bytes);

int conf_commit_parse(const char *s, enum conf_commit *commit); /* 0 or -EINVAL */
int conf_mode_parse(const char *s, enum conf_mode *mode);
int conf_access_parse(const char *s, enum conf_access *access);
int conf_compress_parse(const char *s, enum conf_compress *compress);

/* What no single option can be blamed for. 0, or -EINVAL and a whole sentence in why. */
int conf_check_volume(const struct conf *conf, const struct conf_volume *v, char *why, size_t n);
int conf_check_pair(const struct conf_volume *a, const struct conf_volume *b, char *why, size_t n);

/*
 * Overwrites comments with spaces, newlines kept. Returns how many blocks are open at the end
 * (negative: more were closed than opened).
 */
int conf_blank_comments(char *text);

#endif
