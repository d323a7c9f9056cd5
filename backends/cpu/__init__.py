"""CPU backend: level-5 IR to LLVM IR text, machine code through llvmlite, and the callable that runs it."""
