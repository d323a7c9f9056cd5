; A pool of worker threads that shares the iterations of one loop at a time: `dlir.parallel_for(body, context, n)`.
;
; The caller takes part.  It opens a job by writing tickets into @job, one for each helper that it wants; a worker joins
; by turning a ticket into a running count.  Both live in one word, so joining and closing cannot miss each other.
; Iterations come from a shared counter.  When they are used up the caller takes back the tickets that nobody claimed: it
; never waits for a worker that the system has not woken yet, only for those at work.
;
; Workers poll for a short time before they sleep on a semaphore.  @sleepers counts those to whom nobody has promised a
; post; a caller lowers it by the number of posts that it is going to make, so posts and waits always pair up.
;
; A loop runs in its caller alone when it has one iteration, there are no workers, or the pool is busy with another loop
; (of another thread, or around this one).
;
; threads.py creates the workers (at the first loop, through @starter), stops them at exit, resets the pool in a forked
; child, and defines `dlir.pause`, a hint to the CPU that this is a polling loop.  `dlir.make_room` keeps woken workers off
; the caller's CPU (placement.ll).

; Each on its own cache line: what different threads write is apart.
@lock = internal global i32 0, align 64        ; 1 while a job is open
@job = internal global i64 0, align 64         ; tickets, running << 32, and bit 63 while the caller sleeps
@next = internal global i64 0, align 64        ; the next iteration
@body = internal global ptr null, align 64
@context = internal global ptr null
@iterations = internal global i64 0
@sleepers = internal global i32 0, align 64
@stop = internal global i32 0, align 64
@workers = internal global i32 -1              ; -1: not started
@starter = internal global ptr null            ; creates the workers, returns their number
@wake = internal global [64 x i8] zeroinitializer, align 64 ; the semaphore on which workers sleep
@done = internal global [64 x i8] zeroinitializer, align 64 ; the semaphore on which the caller sleeps

declare i32 @sem_init(ptr, i32, i32)
declare i32 @sem_wait(ptr)
declare i32 @sem_post(ptr)
declare i32 @llvm.umin.i32(i32, i32)

; Forget all workers and jobs: at the start, and in a forked child, where only the forking thread lives on.
define void @dlir.pool_reset(ptr %starter) {
  store i32 0, ptr @lock
  store i64 0, ptr @job
  store i32 0, ptr @sleepers
  store i32 0, ptr @stop
  store i32 -1, ptr @workers
  store ptr %starter, ptr @starter
  %1 = call i32 @sem_init(ptr @wake, i32 0, i32 0)
  %2 = call i32 @sem_init(ptr @done, i32 0, i32 0)
  ret void
}

; Let the workers return, and run later loops in their callers.
define void @dlir.pool_stop() {
entry:
  store atomic i32 0, ptr @workers seq_cst, align 4
  store atomic i32 1, ptr @stop seq_cst, align 4
  %asleep = atomicrmw xchg ptr @sleepers, i32 0 seq_cst
  call void @post_workers(i32 %asleep)
  ret void
}

define internal void @post_workers(i32 %count) {
entry:
  br label %head
head:
  %i = phi i32 [ 0, %entry ], [ %next, %post ]
  %more = icmp slt i32 %i, %count
  br i1 %more, label %post, label %exit
post:
  %1 = call i32 @sem_post(ptr @wake)
  %next = add i32 %i, 1
  br label %head
exit:
  ret void
}

; sem_wait, again after a signal.
define internal void @wait_for(ptr %semaphore) {
entry:
  br label %try
try:
  %status = call i32 @sem_wait(ptr %semaphore)
  %interrupted = icmp ne i32 %status, 0
  br i1 %interrupted, label %try, label %exit
exit:
  ret void
}

; Iterations of the open job until none is left.
define internal void @work() {
entry:
  %body = load ptr, ptr @body
  %context = load ptr, ptr @context
  %n = load i64, ptr @iterations
  br label %take
take:
  %t = atomicrmw add ptr @next, i64 1 monotonic
  %more = icmp slt i64 %t, %n
  br i1 %more, label %run, label %exit
run:
  call void %body(ptr %context, i64 %t)
  br label %take
exit:
  ret void
}

define void @dlir.parallel_for(ptr %body, ptr %context, i64 %n) {
entry:
  %several = icmp sgt i64 %n, 1
  br i1 %several, label %count, label %serial
count:
  %known = load atomic i32, ptr @workers acquire, align 4
  %unknown = icmp slt i32 %known, 0
  br i1 %unknown, label %start, label %counted
start:
  %starter = load ptr, ptr @starter
  %started = call i32 %starter()
  store atomic i32 %started, ptr @workers release, align 4
  br label %counted
counted:
  %workers = phi i32 [ %known, %count ], [ %started, %start ]
  %helped = icmp sgt i32 %workers, 0
  br i1 %helped, label %acquire, label %serial
acquire:
  %exchange = cmpxchg ptr @lock, i32 0, i32 1 acquire monotonic
  %free = extractvalue { i32, i1 } %exchange, 1
  br i1 %free, label %open, label %serial

open:
  store ptr %body, ptr @body
  store ptr %context, ptr @context
  store i64 %n, ptr @iterations
  store atomic i64 0, ptr @next monotonic, align 8
  %others = sub i64 %n, 1
  %all = zext i32 %workers to i64
  %few = icmp ult i64 %others, %all
  %tickets = select i1 %few, i64 %others, i64 %all
  store atomic i64 %tickets, ptr @job seq_cst, align 8
  %wanted = trunc i64 %tickets to i32
  br label %promise
promise:
  %asleep = load atomic i32, ptr @sleepers seq_cst, align 4
  %posts = call i32 @llvm.umin.i32(i32 %asleep, i32 %wanted)
  %left = sub i32 %asleep, %posts
  %promised = cmpxchg ptr @sleepers, i32 %asleep, i32 %left seq_cst seq_cst
  %agreed = extractvalue { i32, i1 } %promised, 1
  br i1 %agreed, label %share, label %promise
share:
  call void @dlir.make_room(i32 %posts)
  call void @post_workers(i32 %posts)
  call void @work()
  %before = atomicrmw and ptr @job, i64 -4294967296 acq_rel
  %running = lshr i64 %before, 32
  %alone = icmp eq i64 %running, 0
  br i1 %alone, label %close, label %poll

poll:
  %spin = phi i32 [ 0, %share ], [ %spun, %again ]
  %state = load atomic i64, ptr @job acquire, align 8
  %finished = icmp eq i64 %state, 0
  br i1 %finished, label %close, label %again
again:
  call void @dlir.pause()
  %spun = add i32 %spin, 1
  %patient = icmp ult i32 %spun, SPINS
  br i1 %patient, label %poll, label %sleep
sleep:
  %last = atomicrmw or ptr @job, i64 -9223372036854775808 acq_rel
  %late = icmp eq i64 %last, 0
  br i1 %late, label %close, label %wait
wait:
  call void @wait_for(ptr @done)
  br label %close

close:
  store atomic i64 0, ptr @job monotonic, align 8
  store atomic i32 0, ptr @lock release, align 4
  ret void

serial:
  %any = icmp sgt i64 %n, 0
  br i1 %any, label %loop, label %exit
loop:
  %t = phi i64 [ 0, %serial ], [ %following, %loop ]
  call void %body(ptr %context, i64 %t)
  %following = add nsw i64 %t, 1
  %more = icmp slt i64 %following, %n
  br i1 %more, label %loop, label %exit
exit:
  ret void
}

; The life of a worker thread.
define void @dlir.worker() {
entry:
  br label %poll
poll:
  %spin = phi i32 [ 0, %entry ], [ %spun, %again ], [ 0, %rest ], [ 0, %claim ], [ 0, %finish ]
  %state = load atomic i64, ptr @job acquire, align 8
  %tickets = trunc i64 %state to i32
  %open = icmp ne i32 %tickets, 0
  br i1 %open, label %claim, label %again
again:
  call void @dlir.pause()
  %spun = add i32 %spin, 1
  %patient = icmp ult i32 %spun, SPINS
  br i1 %patient, label %poll, label %tired

; From here a caller may promise this worker a post.  Look once more for a job that was opened before.
tired:
  %1 = atomicrmw add ptr @sleepers, i32 1 seq_cst
  %stop = load atomic i32, ptr @stop seq_cst, align 4
  %stopping = icmp ne i32 %stop, 0
  %seen = load atomic i64, ptr @job seq_cst, align 8
  %offers = trunc i64 %seen to i32
  %offered = icmp ne i32 %offers, 0
  %needed = or i1 %stopping, %offered
  br i1 %needed, label %withdraw, label %rest
withdraw:
  %asleep = load atomic i32, ptr @sleepers seq_cst, align 4
  %promised = icmp eq i32 %asleep, 0
  br i1 %promised, label %rest, label %retract
retract:
  %fewer = sub i32 %asleep, 1
  %exchange = cmpxchg ptr @sleepers, i32 %asleep, i32 %fewer seq_cst seq_cst
  %retracted = extractvalue { i32, i1 } %exchange, 1
  br i1 %retracted, label %awake, label %withdraw
awake:
  br i1 %stopping, label %exit, label %claim
rest:
  call void @wait_for(ptr @wake)
  %now = load atomic i32, ptr @stop seq_cst, align 4
  %ending = icmp ne i32 %now, 0
  br i1 %ending, label %exit, label %poll

claim:
  %offer = load atomic i64, ptr @job acquire, align 8
  %rest_of_tickets = trunc i64 %offer to i32
  %gone = icmp eq i32 %rest_of_tickets, 0
  br i1 %gone, label %poll, label %join
join:
  %joined = add i64 %offer, 4294967295 ; one ticket less, one running more
  %claimed = cmpxchg ptr @job, i64 %offer, i64 %joined acq_rel acquire
  %mine = extractvalue { i64, i1 } %claimed, 1
  br i1 %mine, label %help, label %claim
help:
  call void @work()
  %before = atomicrmw sub ptr @job, i64 4294967296 acq_rel
  ; The last one to finish wakes a caller that sleeps: bit 63 and one running are all that was set.
  %awaited = icmp eq i64 %before, -9223372032559808512
  br i1 %awaited, label %report, label %finish
report:
  %2 = call i32 @sem_post(ptr @done)
  br label %finish
finish:
  br label %poll
exit:
  ret void
}
