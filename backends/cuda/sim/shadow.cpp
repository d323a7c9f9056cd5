// Checks of memory accesses: the callbacks of -fsanitize=thread (each load and store that may reach memory another
// thread sees) and of -fsanitize=undefined (bounds of fixed arrays, alignment, integer overflow and division, shifts).
#include <cstdlib>

#include "runtime.h"

namespace sim {
namespace {

Cell* region_cells;            // all regions' cells, one region after the other
std::uint64_t* first_cell;     // per region
std::uint64_t last_region;     // where the last access was found
Cell* shared_cells;            // one per byte

enum class Space { shared, global };

void conflict(const char* what, Space space, std::uint64_t offset, std::uint64_t argument, int other, bool same_block) {
  if (space == Space::shared)
    fail("data race: this %s of shared memory at byte %llu is not separated by a barrier from thread %d's access", what,
         static_cast<unsigned long long>(offset), other);
  if (same_block)
    fail("data race: this %s at byte %llu of argument %llu is not separated by a barrier from thread %d's access", what,
         static_cast<unsigned long long>(offset), static_cast<unsigned long long>(argument), other);
  fail("data race: this %s at byte %llu of argument %llu conflicts with another block's access", what,
       static_cast<unsigned long long>(offset), static_cast<unsigned long long>(argument));
}

// Whether an access in `epoch` by `thread` is unordered with respect to the running thread's next access.
bool unordered(std::uint32_t epoch, int thread) {
  return epoch != 0 && (epoch < state.block_epoch || (epoch == state.epoch && thread != state.thread));
}

void touch(Cell& cell, bool write, Space space, std::uint64_t offset, std::uint64_t argument) {
  const char* what = write ? "write" : "read";
  if (unordered(cell.write_epoch, cell.writer))
    conflict(what, space, offset, argument, cell.writer, cell.write_epoch >= state.block_epoch);
  if (write) {
    bool earlier_block = cell.read_epoch != 0 && cell.read_epoch < state.block_epoch;
    if (unordered(cell.read_epoch, cell.reader) || (cell.read_by_others && cell.read_epoch == state.epoch))
      conflict(what, space, offset, argument, cell.reader, !earlier_block);
    cell.write_epoch = state.epoch;
    cell.writer = static_cast<std::uint16_t>(state.thread);
    return;
  }
  bool another = cell.read_epoch == state.epoch && (cell.read_by_others || cell.reader != state.thread);
  cell.read_by_others = another;
  cell.read_epoch = state.epoch;
  cell.reader = static_cast<std::uint16_t>(state.thread);
}

void access_shared(std::uint64_t offset, std::uint64_t size, bool write) {
  for (std::uint64_t i = offset; i < offset + size; i++) {
    Cell& cell = shared_cells[i];
    // Shared memory starts anew with each block: what an earlier one did is no conflict, and left nothing behind.
    if (cell.write_epoch < state.block_epoch) {
      if (!write) fail("read of uninitialised shared memory at byte %llu", static_cast<unsigned long long>(i));
      cell.write_epoch = 0;
    }
    if (cell.read_epoch < state.block_epoch) cell.read_epoch = 0;
    touch(cell, write, Space::shared, i, 0);
  }
}

bool access_region(std::uint64_t index, std::uint64_t address, std::uint64_t size, bool write) {
  const Region& region = state.launch->regions[index];
  if (address < region.low || address + size > region.high) return false;
  std::uint64_t offset = address - region.low;
  for (std::uint64_t unit = offset / region.unit; unit * region.unit < offset + size; unit++)
    touch(region_cells[first_cell[index] + unit], write, Space::global, unit * region.unit, region.argument);
  last_region = index;
  return true;
}

void access(const void* pointer, std::uint64_t size, bool write) {
  const Launch& launch = *state.launch;
  auto address = reinterpret_cast<std::uint64_t>(pointer);
  auto low = reinterpret_cast<std::uint64_t>(launch.shared_low);
  if (address >= low && address + size <= reinterpret_cast<std::uint64_t>(launch.shared_high))
    return access_shared(address - low, size, write);
  if (last_region < launch.region_count && access_region(last_region, address, size, write)) return;
  for (std::uint64_t i = 0; i < launch.region_count; i++)
    if (access_region(i, address, size, write)) return;
  // A thread's own stack: arrays of the kernel, whose bounds -fsanitize=bounds checks.
  auto stack = reinterpret_cast<std::uint64_t>(state.stacks + state.thread * stack_size);
  if (address >= stack && address + size <= stack + stack_size) return;
  std::uint64_t nearest = 0, distance = ~0ull;
  for (std::uint64_t i = 0; i < launch.region_count; i++) {
    std::uint64_t d = address < launch.regions[i].low ? launch.regions[i].low - address : address - launch.regions[i].low;
    if (d < distance) nearest = i, distance = d;
  }
  if (launch.region_count == 0) fail("%s out of bounds", write ? "write" : "read");
  const Region& region = launch.regions[nearest];
  fail("%s of %llu bytes out of bounds, at byte %lld of argument %llu, which has %llu", write ? "write" : "read",
       static_cast<unsigned long long>(size), static_cast<long long>(address - region.low),
       static_cast<unsigned long long>(region.argument), static_cast<unsigned long long>(region.high - region.low));
}

}  // namespace

bool open_shadow() {
  const Launch& launch = *state.launch;
  std::uint64_t cells = 0;
  first_cell = static_cast<std::uint64_t*>(std::malloc((launch.region_count + 1) * sizeof(std::uint64_t)));
  if (!first_cell) return false;
  for (std::uint64_t i = 0; i < launch.region_count; i++) {
    const Region& region = launch.regions[i];
    first_cell[i] = cells;
    cells += (region.high - region.low + region.unit - 1) / region.unit;
  }
  region_cells = static_cast<Cell*>(std::calloc(cells + 1, sizeof(Cell)));
  shared_cells = static_cast<Cell*>(std::calloc(launch.shared_high - launch.shared_low + 1, sizeof(Cell)));
  last_region = 0;
  return region_cells && shared_cells;
}

void close_shadow() {
  std::free(first_cell);
  std::free(region_cells);
  std::free(shared_cells);
  first_cell = nullptr;
  region_cells = shared_cells = nullptr;
}

}  // namespace sim

// ---------------------------------------------------------------- thread-sanitizer callbacks

#define DLIR_SIM_ACCESS(size)                                                               \
  extern "C" void __tsan_read##size(void* p) { sim::access(p, size, false); }               \
  extern "C" void __tsan_write##size(void* p) { sim::access(p, size, true); }               \
  extern "C" void __tsan_unaligned_read##size(void* p) { sim::access(p, size, false); }     \
  extern "C" void __tsan_unaligned_write##size(void* p) { sim::access(p, size, true); }
DLIR_SIM_ACCESS(1)
DLIR_SIM_ACCESS(2)
DLIR_SIM_ACCESS(4)
DLIR_SIM_ACCESS(8)
DLIR_SIM_ACCESS(16)
extern "C" void __tsan_read_range(void* p, std::uint64_t size) { sim::access(p, size, false); }
extern "C" void __tsan_write_range(void* p, std::uint64_t size) { sim::access(p, size, true); }
extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit(void*) {}

// ---------------------------------------------------------------- undefined-behaviour callbacks

// Every callback's data begins with the place in the kernel text.
struct Place {
  const char* file;
  std::uint32_t line, column;
};

#define DLIR_SIM_UNDEFINED(name, what) \
  extern "C" void __ubsan_handle_##name(const Place* place, ...) { sim::fail(what " at line %u", place->line); }
DLIR_SIM_UNDEFINED(out_of_bounds, "index out of bounds of an array")
DLIR_SIM_UNDEFINED(type_mismatch_v1, "misaligned access")
DLIR_SIM_UNDEFINED(add_overflow, "signed integer overflow in an addition")
DLIR_SIM_UNDEFINED(sub_overflow, "signed integer overflow in a subtraction")
DLIR_SIM_UNDEFINED(mul_overflow, "signed integer overflow in a multiplication")
DLIR_SIM_UNDEFINED(negate_overflow, "signed integer overflow in a negation")
DLIR_SIM_UNDEFINED(divrem_overflow, "integer division by zero or overflow")
DLIR_SIM_UNDEFINED(shift_out_of_bounds, "shift by a negative amount or by the width or more")
