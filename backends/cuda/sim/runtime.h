// The parts of the cuda-sim runtime that the scheduler and the access checks share.
#pragma once
#include <cstdint>

namespace sim {

// What is known of one unit of memory: who last wrote and read it, and in which epoch. An epoch is the time between two
// barriers of one block; numbers grow over the whole launch, and 0 means never.
struct Cell {
  std::uint32_t write_epoch, read_epoch;
  std::uint16_t writer, reader;
  bool read_by_others;  // more than one thread has read it in read_epoch, or an earlier block has
};

// Memory that a kernel's arguments point to. `argument` is the first that does; a cell stands for `unit` bytes.
struct Region {
  std::uint64_t low, high, unit, argument;
};

// One launch, filled in by Python; the layout is mirrored there.
struct Launch {
  void (*enter)(void**);
  void** args;
  char *shared_low, *shared_high;
  const Region* regions;
  std::uint64_t region_count;
  char* message;  // receives the error, at most message_size bytes with the final 0
  std::uint64_t message_size;
  std::uint32_t grid[3], block[3];
  std::uint32_t order;  // of threads and blocks: 0 forward, 1 reverse, 2 random
  std::uint32_t seed;
};

constexpr int max_threads = 1024;
constexpr std::uint64_t stack_size = 1 << 16;

// Where the launch stands.
struct State {
  const Launch* launch;
  int thread;                 // the running thread, numbered within its block
  std::uint32_t epoch;        // the current one
  std::uint32_t block_epoch;  // the first one of the current block
  char* stacks;               // max_threads of stack_size bytes each
};
extern State state;

// End the launch with a message; does not return to the caller, which must be a simulated thread.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

// Make shadow cells for a launch, and give them back.
bool open_shadow();
void close_shadow();

}  // namespace sim
