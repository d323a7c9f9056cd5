"""The commands: dlir-opt and dlir-run."""
