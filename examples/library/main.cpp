// Merges two models half and half: merge_two MODEL MODEL OUTPUT
#include <crucible/crucible.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 4) return std::cerr << "usage: merge_two MODEL MODEL OUTPUT\n", 2;
  crucible::MergeRequest request;
  request.recipe_text = "merge_method: linear\nmodels: [{model: first}, {model: second}]\nparameters: {weight: 0.5}\n";
  request.model_dirs = {{"first", argv[1]}, {"second", argv[2]}};
  try {
    const crucible::MergeReport report = crucible::merge(request, argv[3]);
    std::cout << report.summary;
  } catch (const crucible::Error& error) {
    std::cerr << error.what() << '\n';
    return crucible::exit_code_of(error.code());
  }
}
