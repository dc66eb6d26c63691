/* mailfs-syncd with fault points (see points.h), and checkpoints that come often. */
#define CHECKPOINT_MS 250
#include "syncd/checkpoint.c" // NOLINT(bugprone-suspicious-include)

int program_main(int argc, char **argv);
#define main program_main
#include "syncd/main.c" // NOLINT(bugprone-suspicious-include)
#undef main

#include "tests/faults/points.h"

int main(int argc, char **argv) {
    points_start("mailfs-syncd");
    return program_main(argc, argv);
}
