"""Everything that comes from outside, wrong in every way that can be thought of."""
