#include "commands/shared/mergekit_options.h"

#include <cstdio>
#include <cstdlib>

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

void declare_one(CommandLine& line, MergekitOptions& o, const WithoutMeaning& w) {
  const std::string text = std::string("no effect: ") + w.reason;
  const Option option = w.takes_value ? line.unused_option(w.name, text) : line.unused_flag(w.name, text);
  o.ignored.emplace_back(w.reason, option.group("Accepted, without effect"));
}

}  // namespace

void declare_mergekit_options(CommandLine& line, MergekitOptions& o, const char* model_names) {
  o.merge.shard_size = "5B";
  line.option("--out-shard-size", o.merge.shard_size, "largest weight file, in bytes: 5B (10^9), 500M, 2GiB").shows_default();
  line.option("--random-seed", o.merge.request.seed, "seed of all random choices").non_negative().shows_default();
  line.option("--num-threads,-j", o.merge.request.threads, "worker threads (default: all processors)").between(0, 4096);
  line.option("--transformers-cache", o.transformers_cache, "Hub cache to look models up in");
  line.flag("--copy-tokenizer,!--no-copy-tokenizer", o.merge.request.copy_companions,
            "copy the tokenizer and other non-weight files (default on)");
  line.flag("--write-model-card,!--no-write-model-card", o.merge.request.write_card,
            "write README.md and mergekit_config.yml (default on)");
  line.flag("--safe-serialization,!--no-safe-serialization", o.safe_serialization, "write safetensors (the only form here)");
  line.flag("--quiet,!--no-quiet", o.merge.quiet, "print errors only");
  line.flag("-v,--verbose", o.verbosity, "accepted; notices are always shown");
  declare_model_option(line, o.merge, model_names);
  line.option("--memory", o.merge.memory, "memory budget").group("Crucible");
  line.flag("--allow-missing", o.merge.allow_missing,
            "merge a tensor that some models lack from those that have it; the output keeps the tensors of the base (or first model)")
      .group("Crucible");
  line.flag("--strict", o.merge.request.notices_are_errors, "treat notices as errors").group("Crucible");
  for (const WithoutMeaning& w : kWithoutMeaning) declare_one(line, o, w);
}

void declare_without_effect(CommandLine& line, MergekitOptions& o, const char* name, const char* reason) {
  declare_one(line, o, {name, reason, false});
}

void apply_mergekit_options(MergekitOptions& o) {
  if (!o.safe_serialization) {
    Diagnostics refused;
    refused.error({}, "--no-safe-serialization: pickled weights are not written here", "leave the option out: the output is safetensors");
    refused.throw_if_errors();
  }
  for (const auto& [reason, option] : o.ignored) {
    if (option.count() > 0 && !o.merge.quiet) std::fprintf(stderr, "%s has no effect: %s\n", option.name().c_str(), reason.c_str());
  }
  if (!o.transformers_cache.empty()) setenv("HF_HUB_CACHE", o.transformers_cache.c_str(), 1);
  o.merge.overwrite = true;     // as mergekit does, only that the old model stays whole until the new one is
  o.merge.allow_unused = true;  // recipes in the world are full of parameters that mergekit ignores
}

}  // namespace crucible
