// Included before Highway, by every file of loops: the CPU levels worth their compile time. Those left out gain nothing here.
#pragma once

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL)
