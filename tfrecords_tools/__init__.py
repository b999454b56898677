"""Camera dumps in, TFRecords out; and the synthetic dome that makes dumps."""
