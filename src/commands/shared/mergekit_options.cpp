#include "commands/shared/mergekit_options.h"

#include <cstdio>
#include <cstdlib>

#include <CLI/CLI.hpp>

namespace crucible {
namespace {

// Options of mergekit that change how it computes, never what.
struct WithoutMeaning {
  const char* name;
  const char* reason;
  bool takes_value;
};
constexpr WithoutMeaning kWithoutMeaning[] = {
    {"--cuda,!--no-cuda", "all arithmetic runs on the processor", false},
    {"--device", "all arithmetic runs on the processor", true},
    {"--gpu-rich", "all arithmetic runs on the processor", false},
    {"--multi-gpu,!--no-multi-gpu", "all arithmetic runs on the processor", false},
    {"--read-to-gpu,!--no-read-to-gpu", "all arithmetic runs on the processor", false},
    {"--low-cpu-memory,!--no-low-cpu-memory", "memory is bounded by --memory", false},
    {"--clone-tensors,!--no-clone-tensors", "tensors never share storage here", false},
    {"--lazy-unpickle,!--no-lazy-unpickle", "tensors are always read in pieces", false},
    {"--async-write,!--no-async-write", "writing always overlaps with computing", false},
    {"--write-threads", "every worker writes what it computed", true},
    {"--trust-remote-code,!--no-trust-remote-code", "no code of a model is ever run", false},
    {"--allow-crimes,!--no-allow-crimes", "tensors are matched by name and shape, whatever the architecture is called", false},
    {"--lora-merge-dtype", "LoRA references are not supported yet", true},
    {"--lora-merge-cache", "LoRA references are not supported yet", true},
};

void keep(CLI::Option* option, const std::string& reason, MergekitOptions& o) {
  option->description("no effect: " + reason)->group("Accepted, without effect");
  o.ignored.emplace_back(reason, option);
}

}  // namespace

void declare_mergekit_options(CLI::App& app, MergekitOptions& o, const char* model_names) {
  o.merge.shard_size = "5B";
  app.add_option("--out-shard-size", o.merge.shard_size, "largest weight file, in bytes: 5B (10^9), 500M, 2GiB")->capture_default_str();
  app.add_option("--random-seed", o.merge.request.seed, "seed of all random choices")->check(CLI::NonNegativeNumber)->capture_default_str();
  app.add_option("--num-threads,-j", o.merge.request.threads, "worker threads (default: all processors)")->check(CLI::Range(0, 4096));
  app.add_option("--transformers-cache", o.transformers_cache, "Hub cache to look models up in");
  app.add_flag("--copy-tokenizer,!--no-copy-tokenizer", o.merge.request.copy_companions,
               "copy the tokenizer and other non-weight files (default on)");
  app.add_flag("--write-model-card,!--no-write-model-card", o.merge.request.write_card,
               "write README.md and mergekit_config.yml (default on)");
  app.add_flag("--safe-serialization,!--no-safe-serialization", o.safe_serialization, "write safetensors (the only form here)");
  app.add_flag("--quiet,!--no-quiet", o.merge.quiet, "print errors only");
  app.add_flag("-v,--verbose", o.verbosity, "accepted; notices are always shown");
  declare_model_option(app, o.merge, model_names);
  app.add_option("--memory", o.merge.memory, "memory budget")->group("Crucible");
  app.add_flag("--allow-missing", o.merge.allow_missing,
               "merge a tensor that some models lack from those that have it; the output keeps the tensors of the base (or first model)")
      ->group("Crucible");
  app.add_flag("--strict", o.merge.request.notices_are_errors, "treat notices as errors")->group("Crucible");
  for (const WithoutMeaning& w : kWithoutMeaning)
    keep(w.takes_value ? app.add_option(w.name)->expected(1) : app.add_flag(w.name), w.reason, o);
}

void declare_without_effect(CLI::App& app, MergekitOptions& o, const std::string& name, const std::string& reason) {
  keep(app.add_flag(name), reason, o);
}

void apply_mergekit_options(MergekitOptions& o) {
  if (!o.safe_serialization) {
    Diagnostics refused;
    refused.error({}, "--no-safe-serialization: pickled weights are not written here", "leave the option out: the output is safetensors");
    refused.throw_if_errors();
  }
  for (const auto& [reason, option] : o.ignored) {
    if (option->count() > 0 && !o.merge.quiet) std::fprintf(stderr, "%s has no effect: %s\n", option->get_name().c_str(), reason.c_str());
  }
  if (!o.transformers_cache.empty()) setenv("HF_HUB_CACHE", o.transformers_cache.c_str(), 1);
  o.merge.overwrite = true;     // as mergekit does, only that the old model stays whole until the new one is
  o.merge.allow_unused = true;  // recipes in the world are full of parameters that mergekit ignores
}

}  // namespace crucible
