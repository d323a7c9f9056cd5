// The cuda-sim scheduler: runs a launch one block after the other, each thread of a block as a fiber that runs until it
// waits at a barrier or a shuffle.
#include <sys/mman.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "fiber.h"
#include "runtime.h"

namespace sim {

State state;

namespace {

enum class Status : unsigned char { ready, at_barrier, at_shuffle, done };

struct Thread {
  Context context;
  Status status;
  int line;  // of the barrier or shuffle that it waits at
  std::uint32_t mask;
  int source;
  std::uint64_t bits;  // published for a shuffle, then received from it
};

struct Index {
  unsigned x, y, z;
};

Thread threads[max_threads];
Context scheduler;
Index block_index, block_dim, grid_dim;
int thread_count;
std::uint32_t random_state;
bool failed;

Index unflatten(std::uint64_t flat, Index dim) {
  return {static_cast<unsigned>(flat % dim.x), static_cast<unsigned>(flat / dim.x % dim.y),
          static_cast<unsigned>(flat / dim.x / dim.y)};
}

std::uint32_t random_below(std::uint64_t bound) {
  random_state = random_state * 1664525u + 1013904223u;
  return static_cast<std::uint32_t>((random_state >> 8) % bound);
}

void wait(Status status, int line) {
  Thread& self = threads[state.thread];
  self.status = status;
  self.line = line;
  switch_context(self.context, scheduler);
}

void thread_main() {
  state.launch->enter(state.launch->args);
  wait(Status::done, 0);
  __builtin_unreachable();
}

void report(const char* format, std::va_list values) {
  const Launch& launch = *state.launch;
  Index t = unflatten(state.thread, block_dim);
  int used = std::snprintf(launch.message, launch.message_size, "block (%u, %u, %u), thread (%u, %u, %u): ",
                           block_index.x, block_index.y, block_index.z, t.x, t.y, t.z);
  if (static_cast<std::uint64_t>(used) < launch.message_size)
    std::vsnprintf(launch.message + used, launch.message_size - used, format, values);
  failed = true;
}

// For errors that the scheduler finds itself, in the name of a thread.
__attribute__((format(printf, 2, 3))) void blame(int thread, const char* format, ...) {
  state.thread = thread;
  std::va_list values;
  va_start(values, format);
  report(format, values);
  va_end(values);
}

const char* describe(const Thread& thread) {
  switch (thread.status) {
    case Status::done: return "has returned";
    case Status::at_barrier: return "waits at the barrier of line";
    default: return "waits at the shuffle of line";
  }
}

// All live threads wait: either all at one barrier, which then opens, or something is wrong.
void release_barrier() {
  for (int i = 1; i < thread_count; i++) {
    const Thread &first = threads[0], &other = threads[i];
    if (first.status == other.status && first.line == other.line) continue;
    int waiting = first.status == Status::done ? i : 0, elsewhere = waiting == 0 ? i : 0;
    return blame(waiting, "divergence: it %s %d, while thread %d %s %d", describe(threads[waiting]),
                 threads[waiting].line, elsewhere, describe(threads[elsewhere]), threads[elsewhere].line);
  }
  if (threads[0].status == Status::at_shuffle)
    return blame(0, "deadlock: the shuffle of line %d waits for lanes that the block does not have", threads[0].line);
  state.epoch++;
  for (int i = 0; i < thread_count; i++) threads[i].status = Status::ready;
}

void start_threads() {
  for (int i = 0; i < thread_count; i++) {
    threads[i].status = Status::ready;
    // Stacks start at different cache sets, so that switching through all threads does not thrash one of them.
    std::uint64_t skew = (i * 448) % 8192 & ~15ull;
    prepare_context(threads[i].context, state.stacks + i * stack_size, stack_size - 64 - skew, thread_main);
  }
}

void order_threads(int* order) {
  for (int i = 0; i < thread_count; i++) order[i] = state.launch->order == 1 ? thread_count - 1 - i : i;
  if (state.launch->order == 2)
    for (int i = thread_count - 1; i > 0; i--) std::swap(order[i], order[random_below(i + 1)]);
}

void run_block() {
  const Launch& launch = *state.launch;
  // All bits set: NaN as a float, -1 as an integer, so that code that reads it gives itself away.
  if (launch.shared_high > launch.shared_low)
    std::memset(launch.shared_low, 0xff, launch.shared_high - launch.shared_low);
  state.block_epoch = ++state.epoch;
  start_threads();
  int order[max_threads], done = 0;
  while (done < thread_count) {
    bool progress = false;
    done = 0;
    order_threads(order);
    for (int i = 0; i < thread_count; i++) {
      Thread& thread = threads[order[i]];
      if (thread.status == Status::ready) {
        state.thread = order[i];
        progress = true;
        switch_context(scheduler, thread.context);
        if (failed) return;
      }
    }
    for (int i = 0; i < thread_count; i++) done += threads[i].status == Status::done;
    if (!progress && done < thread_count) release_barrier();
    if (failed) return;
  }
}

void run_grid() {
  std::uint64_t blocks = static_cast<std::uint64_t>(grid_dim.x) * grid_dim.y * grid_dim.z;
  std::uint64_t start = state.launch->order == 2 && blocks ? random_below(blocks) : 0;
  for (std::uint64_t i = 0; i < blocks && !failed; i++) {
    // The random order starts anywhere and goes round, which needs no table of the grid.
    std::uint64_t flat = state.launch->order == 1 ? blocks - 1 - i : (start + i) % blocks;
    block_index = unflatten(flat, grid_dim);
    run_block();
  }
}

}  // namespace

void fail(const char* format, ...) {
  std::va_list values;
  va_start(values, format);
  report(format, values);
  va_end(values);
  wait(Status::done, 0);
  __builtin_unreachable();
}

}  // namespace sim

using namespace sim;

// ---------------------------------------------------------------- what kernel text calls

extern "C" Index dlir_sim_thread_index() { return unflatten(state.thread, block_dim); }
extern "C" Index dlir_sim_block_index() { return block_index; }
extern "C" Index dlir_sim_block_dim() { return block_dim; }
extern "C" Index dlir_sim_grid_dim() { return grid_dim; }
extern "C" int dlir_sim_lane() { return state.thread % 32; }
extern "C" void dlir_sim_barrier(int line) { wait(Status::at_barrier, line); }

// The last lane of the mask to arrive moves the values of all of them.
extern "C" std::uint64_t dlir_sim_shuffle(std::uint32_t mask, std::uint64_t bits, int source, int line) {
  int lane = state.thread % 32, base = state.thread - lane;
  Thread& self = threads[state.thread];
  if (!(mask >> lane & 1)) fail("the shuffle of line %d has mask 0x%08x, without the calling lane %d", line, mask, lane);
  if (base + source >= thread_count || !(mask >> source & 1))
    fail("the shuffle of line %d reads lane %d, which takes no part in it", line, source);
  self.mask = mask;
  self.bits = bits;
  self.source = source;
  for (int i = 0; i < 32; i++) {
    if (!(mask >> i & 1) || i == lane) continue;
    const Thread& other = threads[base + i];
    if (base + i >= thread_count || other.status != Status::at_shuffle) {
      wait(Status::at_shuffle, line);
      return self.bits;
    }
    if (other.mask != mask || other.line != line)
      fail("the shuffle of line %d (mask 0x%08x) meets lane %d at the one of line %d (mask 0x%08x)", line, mask, i,
           other.line, other.mask);
  }
  std::uint64_t moved[32];
  for (int i = 0; i < 32; i++)
    if (mask >> i & 1) moved[i] = threads[base + threads[base + i].source].bits;
  for (int i = 0; i < 32; i++) {
    if (!(mask >> i & 1)) continue;
    threads[base + i].bits = moved[i];
    threads[base + i].status = Status::ready;
  }
  return self.bits;
}

// ---------------------------------------------------------------- what Python calls

// Run a whole grid; 0 when all went well, else 1 and launch->message says what was found. Not re-entrant.
extern "C" int dlir_sim_launch(const Launch* launch) {
  state.launch = launch;
  state.epoch = 0;
  failed = false;
  random_state = launch->seed * 2654435761u + 1;
  std::memcpy(&grid_dim, launch->grid, sizeof grid_dim);
  std::memcpy(&block_dim, launch->block, sizeof block_dim);
  thread_count = static_cast<int>(block_dim.x * block_dim.y * block_dim.z);
  std::uint64_t bytes = max_threads * stack_size;
  void* stacks = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (stacks == MAP_FAILED || !open_shadow()) {
    std::snprintf(launch->message, launch->message_size, "out of memory for the stacks and shadow of a launch");
    failed = true;
  } else {
    state.stacks = static_cast<char*>(stacks);
    run_grid();
  }
  close_shadow();
  if (stacks != MAP_FAILED) munmap(stacks, bytes);
  return failed;
}
