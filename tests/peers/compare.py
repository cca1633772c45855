"""Holds the outputs of both programs against each other and against float64.

Tensor by tensor, the programs agree within two units in the last place of the largest operand of the tensor (four
where mergekit sums whole tensors in float32, which shows in slerp that extrapolates along an arc).
Element by element they are held tighter: the unit is then 2^-23 times the element's own largest operand, the
largest magnitude among the base, the models' values, the terms that the last sum adds (weights, lambda,
rescale and divisor included) and the result. Operands, and not the result alone, because terms can cancel;
2^-23 of the magnitude, and not the spacing at it, because the spacing halves just below each power of two
while relative rounding errors do not. Crucible rounds once, so it must be within half a unit of float64;
mergekit rounds each operation to float32 and takes norms and dot products in float32.

Two kinds of elements are left out where mergekit takes part, because there a rounding error or the order of
a sort decides, and both answers are right: entries as large as a magnitude cut that goes through equal
magnitudes, and elements whose sum of weighted deltas, over models on both sides, is 0 to within 4 units.
"""
from dataclasses import dataclass

import numpy as np

from reference import expected_of, jobs_of, spacing


@dataclass(frozen=True)
class Bounds:
    tensor: float = 2.0
    # mergekit's own roundings: about six float32 operations make an element of a normalised merge of three models.
    element: float = 3.0


# Where mergekit also takes norms, dot products or L1 sums of whole tensors in float32; their order depends on the processor.
REDUCTIONS = Bounds(tensor=4.0, element=8.0)
# Where mergekit scales whole tensors by lengths that it sums in float32: all elements are off by the same share.
LENGTHS = Bounds(tensor=32.0, element=24.0)
# Half a unit, and a little for float64 itself.
OF_CRUCIBLE = 0.51


def compare(recipe, family, crucible, mergekit, row, bounds=Bounds(), most_excluded=1e-3, out_dtype="float32"):
    """Asserts that both outputs (name -> tensor) agree with each other and with float64.

    A half precision output is counted in the spacing of its type at the largest operand.
    """
    jobs = jobs_of(recipe, family.names, family.layers)
    names = {job.name for job in jobs}
    assert set(crucible) == names, set(crucible) ^ names
    assert set(mergekit) == names, set(mergekit) ^ names
    allowed = {"per_tensor": bounds.tensor, "crucible_mergekit": bounds.element, "crucible_exact": OF_CRUCIBLE,
               "mergekit_exact": bounds.element}
    elements = excluded = 0
    worst = []
    for job in jobs:
        ours, theirs = crucible[job.name], mergekit[job.name]
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype, (job.name, ours.shape, theirs.shape, ours.dtype, theirs.dtype)
        ours, theirs = (t.double().numpy().ravel() for t in (ours, theirs))
        expected = expected_of(recipe, job, family.tensors)
        unit = expected.largest * 2.0**-23 if out_dtype == "float32" else spacing(expected.largest, out_dtype)
        unit = np.maximum(unit, np.finfo(np.float32).tiny)  # elements that are 0 on all sides
        tie = expected.magnitude_tie | expected.sign_tie
        free = ~tie
        apart = np.abs(ours - theirs)
        differences = {
            "per_tensor": np.max(apart[free], initial=0) / spacing(expected.largest.max(), out_dtype),
            "crucible_mergekit": np.max(apart[free] / unit[free], initial=0),
            # Crucible's rule for equal magnitudes is the reference's: only the sign of a sum of 0 may fall either way.
            "crucible_exact": np.max((np.abs(ours - expected.value) / unit)[~expected.sign_tie], initial=0),
            "mergekit_exact": np.max(np.abs(theirs - expected.value)[free] / unit[free], initial=0),
        }
        for key, value in differences.items():
            setattr(row, key, max(getattr(row, key), float(value)))
            if value > allowed[key]:
                worst.append(f"{job.name}: {key} {value:.2f} units, allowed {allowed[key]}")
        elements += tie.size
        excluded += int(tie.sum())
    row.runs += 1
    row.elements += elements
    row.excluded += excluded
    assert not worst, "\n".join(worst)
    assert excluded <= most_excluded * elements, f"{excluded} of {elements} elements hang on ties"


def assert_exact(recipe, family, crucible):
    """Crucible alone against float64, for what mergekit gets wrong."""
    jobs = jobs_of(recipe, family.names, family.layers)
    assert set(crucible) == {job.name for job in jobs}
    for job in jobs:
        expected = expected_of(recipe, job, family.tensors)
        unit = np.maximum(expected.largest * 2.0**-23, np.finfo(np.float32).tiny)
        apart = (np.abs(crucible[job.name].double().numpy().ravel() - expected.value) / unit)[~expected.sign_tie]
        assert np.max(apart, initial=0) <= OF_CRUCIBLE, f"{job.name}: {np.max(apart):.2f} units"
