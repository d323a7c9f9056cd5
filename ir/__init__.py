"""The IR: values, operations, types, attributes and the dialects."""
