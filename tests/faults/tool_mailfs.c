/* mailfs with fault points: see points.h. */
int program_main(int argc, char **argv);
#define main program_main
#include "mailfs/main.c" // NOLINT(bugprone-suspicious-include)
#undef main

#include "tests/faults/points.h"

int main(int argc, char **argv) {
    points_start("mailfs");
    return program_main(argc, argv);
}
