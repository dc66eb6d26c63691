#ifndef SYNCD_CTL_H
#define SYNCD_CTL_H

/*
 * STATE/ctl.sock: one packet asks ("status"), one packet answers (a JSON document of this volume).
 * Loop thread only.
 */

#include <stddef.h>

#define CTL_CLIENTS_MAX 16

struct volume;
struct ctl;

int ctl_open(struct volume *v, char *err, size_t errsize);
void ctl_close(struct volume *v);

#endif
