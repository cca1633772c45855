// Gives a record its checksum: seal_record FILE. For tests that write records by hand.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>

#include "report/record.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  std::ostringstream text;
  text << std::ifstream(argv[1]).rdbuf();
  const std::string sealed = crucible::render_record(nlohmann::ordered_json::parse(text.str()));
  std::ofstream out(argv[1], std::ios::trunc);
  out << sealed;
  out.close();
  return out ? 0 : 1;
}
