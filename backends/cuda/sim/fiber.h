// Fibers: one stack per simulated thread, switched in user space.
#pragma once
#include <cstddef>

namespace sim {

#if defined(__x86_64__) && !defined(DLIR_SIM_UCONTEXT)

// A suspended fiber is its stack pointer; the callee-saved registers lie on its stack.
struct Context {
  void* stack_pointer;
};

extern "C" void dlir_sim_switch(void** save, void* load);
asm(R"(
.text
.hidden dlir_sim_switch
.globl dlir_sim_switch
.type dlir_sim_switch,@function
dlir_sim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size dlir_sim_switch, .-dlir_sim_switch
)");

inline void switch_context(Context& from, Context& to) { dlir_sim_switch(&from.stack_pointer, to.stack_pointer); }

inline void prepare_context(Context& context, char* stack, std::size_t size, void (*entry)()) {
  void** top = reinterpret_cast<void**>(stack + size);
  *--top = nullptr;  // the entry's return address, which it never uses; keeps the ABI's alignment
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; i++) *--top = nullptr;
  context.stack_pointer = top;
}

#else

}  // namespace sim
#include <ucontext.h>
namespace sim {

// Portable and slower: each switch saves the signal mask with a system call.
struct Context {
  ucontext_t state;
};

inline void switch_context(Context& from, Context& to) { swapcontext(&from.state, &to.state); }

inline void prepare_context(Context& context, char* stack, std::size_t size, void (*entry)()) {
  getcontext(&context.state);
  context.state.uc_stack.ss_sp = stack;
  context.state.uc_stack.ss_size = size;
  context.state.uc_link = nullptr;
  makecontext(&context.state, entry, 0);
}

#endif

}  // namespace sim
