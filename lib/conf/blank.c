/*
 * blank - comments out of a configuration file, before libconfuse sees it
 *
 * libconfuse loses count of the lines in comments of several lines, and takes a file that ends
 * inside a block for a whole one. What is a comment here is what its lexer takes for one: "#"
 * anywhere outside of a string, "//" and C's only where a token may begin (store = /a//b is a
 * path).
 *
 * Diagnostics: none.
 */
#include "conf/internal.h"

#include <stdbool.h>
#include <string.h>

static char *blank_to(char *s, const char *end) {
    for (; s < end; s++) {
        if (*s != '\n')
            *s = ' ';
    }
    return s;
}

/* s is at the opening quote; returns what follows the closing one, or the end. */
static char *skip_string(char *s) {
    char quote = *s++;
    for (; *s != '\0' && *s != quote; s++) {
        if (*s != '\\')
            continue;
        if (s[1] != '\0')
            s++;
        else
            *s = ' '; /* libconfuse's lexer would echo it to stdout */
    }
    return *s != '\0' ? s + 1 : s;
}

static bool may_begin_token(const char *text, const char *s) {
    return s == text || strchr(" \t\r\n={}(),+\"'", s[-1]) != NULL;
}

int conf_blank_comments(char *text) {
    char *s = text;
    int depth = 0;
    while (*s != '\0') {
        if (*s == '"' || *s == '\'') {
            s = skip_string(s);
        } else if (*s == '#' || (*s == '/' && s[1] == '/' && may_begin_token(text, s))) {
            s = blank_to(s, s + strcspn(s, "\n"));
        } else if (*s == '/' && s[1] == '*' && may_begin_token(text, s)) {
            const char *end = strstr(s + 2, "*/");
            if (end == NULL)
                break; /* libconfuse says so */
            s = blank_to(s, end + 2);
        } else {
            depth += (*s == '{') - (*s == '}');
            s++;
        }
    }
    return depth;
}
