#include "commands/command.h"

int main(int argc, char** argv) { return crucible::run_program(argc, argv); }
