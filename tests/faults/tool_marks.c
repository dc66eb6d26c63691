/* tool_marks STATE...: the marks of each, a line "generation path"; ends 1 if there is an error. */
#include <stdio.h>
#include <string.h>

#include "io/marks.h"

static int show(const struct mark *mark, void *arg) {
    printf("%llu /%s\n", (unsigned long long)mark->gen, mark->path);
    return 0;
}

int main(int argc, char **argv) {
    int r = 0;
    for (int i = 1; i < argc && r == 0; i++) {
        struct marks *marks;
        r = marks_open(argv[i], &marks);
        if (r == 0) {
            r = marks_each(marks, show, NULL);
            marks_close(marks);
        }
    }
    if (r != 0)
        fprintf(stderr, "tool_marks: %s\n", strerror(-r));
    return r != 0;
}
