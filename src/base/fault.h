// Faults that tests plant into the way of a parameter, to see that the audit of an ordinary merge names it. The program itself is built
// without CRUCIBLE_FAULTS: there nothing is ever planted, and the compiler drops the question.
#pragma once

namespace crucible {

enum class Fault {
  kNone,
  kEpsilonDropped,
  kEpsilonNotTaken,
  kRampSwapped,
  kDensityWrong,
  kDensityOfOtherModel,
  kWeightOfOtherModel,
  kRescaleSkipped,
  kLambdaIgnored,
  kNormalizeIgnored,
  kFilterIgnored,
  kGradientIgnored,
  kLevelIgnored,
};

#ifdef CRUCIBLE_FAULTS
inline namespace faulty {
Fault planted_fault() noexcept;  // defined by the tests
inline bool planted(Fault fault) noexcept { return planted_fault() == fault; }
}  // namespace faulty
#else
constexpr bool planted(Fault) noexcept { return false; }
#endif

}  // namespace crucible
