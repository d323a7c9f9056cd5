; Where workers run.  A thread that is woken often starts on the CPU of whoever woke it, which goes on computing there; the
; system parts the two only after milliseconds.  So the CPUs that workers may use are, at each call that wakes some, all
; those of the process but the caller's.  System calls are made only when the caller has moved since.
;
; Everything here is guarded by the lock of parallel_for.ll, but for what threads.py does while it creates workers.

@members = internal global [MAX_CPUS x i32] zeroinitializer ; ids of the workers' threads
@member_count = internal global i32 0
@avoided = internal global i32 -1                           ; the CPU that workers keep away from
@allowed = internal global [MASK_BYTES x i8] zeroinitializer, align 8 ; the process's CPUs, a bit each

declare i32 @sched_getcpu()
declare i32 @sched_setaffinity(i32, i64, ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

; No members: workers stay wherever the system puts them.
define void @dlir.placement_reset() {
  store atomic i32 0, ptr @member_count seq_cst, align 4
  ret void
}

; All workers there are, and the CPUs that they may share with callers: at most MAX_CPUS, at least two.
define void @dlir.placement_begin(ptr %members, i32 %count, ptr %cpus) {
  %count64 = zext i32 %count to i64
  %bytes = shl i64 %count64, 2
  call void @llvm.memcpy.p0.p0.i64(ptr @members, ptr %members, i64 %bytes, i1 false)
  call void @llvm.memcpy.p0.p0.i64(ptr @allowed, ptr %cpus, i64 MASK_BYTES, i1 false)
  store i32 -1, ptr @avoided
  store atomic i32 %count, ptr @member_count seq_cst, align 4
  ret void
}

; Keep workers off the CPU of the caller, which is about to wake `posts` of them.
define internal void @dlir.make_room(i32 %posts) {
entry:
  %mask = alloca [MASK_BYTES x i8], align 8
  %nobody = icmp eq i32 %posts, 0
  br i1 %nobody, label %exit, label %count
count:
  %members = load atomic i32, ptr @member_count acquire, align 4
  %none = icmp eq i32 %members, 0
  br i1 %none, label %exit, label %look
look:
  %cpu = call i32 @sched_getcpu()
  %avoided = load i32, ptr @avoided
  %stayed = icmp eq i32 %cpu, %avoided
  %known = icmp ult i32 %cpu, MAX_CPUS
  %moved = xor i1 %stayed, true
  %act = and i1 %moved, %known
  br i1 %act, label %avoid, label %exit
avoid:
  store i32 %cpu, ptr @avoided
  call void @llvm.memcpy.p0.p0.i64(ptr %mask, ptr @allowed, i64 MASK_BYTES, i1 false)
  %index = lshr i32 %cpu, 3
  %slot = getelementptr i8, ptr %mask, i32 %index
  %position = and i32 %cpu, 7
  %narrow = trunc i32 %position to i8
  %bit = shl i8 1, %narrow
  %others = xor i8 %bit, -1
  %old = load i8, ptr %slot
  %new = and i8 %old, %others
  store i8 %new, ptr %slot
  br label %place
place:
  %i = phi i32 [ 0, %avoid ], [ %next, %place ]
  %member = getelementptr i32, ptr @members, i32 %i
  %id = load i32, ptr %member
  ; Where it is refused, workers stay where they are.
  %1 = call i32 @sched_setaffinity(i32 %id, i64 MASK_BYTES, ptr %mask)
  %next = add i32 %i, 1
  %more = icmp ult i32 %next, %members
  br i1 %more, label %place, label %exit
exit:
  ret void
}
