; The way from Python into machine code without an argument being looked at in Python: `dlir.call` is a built-in function
; (METH_FASTCALL) that takes arrays, checks them against a description, and calls an entry point with a table of their
; data pointers.  It returns None, or the position of the first array that does not fit (-1: there are too many or few).
;
; The description is the function's `self`, a NumPy array of i64:
;
;   0 entry point   1 number of arrays   2 size of the table   3 number of constant pointers
;   4 whether to release the GIL   5 address of the type numpy.ndarray   6 address of None
;   7 how many arrays may not share their memory
;   for each array: its place in the table, address of its dtype, flags it must have, bytes, whether no other array may
;     share its memory, rank, extents...
;   for each constant pointer: its place in the table, the pointer
;
; An array is read as NumPy's ABI fixes it (PyArrayObject_fields); native_call.py checks that at the start.

; Start and end of an array, and whether it must be alone.
%span = type { ptr, ptr, i64 }

declare ptr @PyLong_FromSsize_t(i64)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare void @Py_IncRef(ptr)

define ptr @dlir.call(ptr %self, ptr %arrays, i64 %count) {
entry:
  %p.d = getelementptr i8, ptr %self, i64 16
  %d = load ptr, ptr %p.d
  %p.code = getelementptr i64, ptr %d, i64 0
  %code = load ptr, ptr %p.code
  %p.n = getelementptr i64, ptr %d, i64 1
  %n = load i64, ptr %p.n
  %p.size = getelementptr i64, ptr %d, i64 2
  %size = load i64, ptr %p.size
  %p.constants = getelementptr i64, ptr %d, i64 3
  %constants = load i64, ptr %p.constants
  %p.release = getelementptr i64, ptr %d, i64 4
  %release = load i64, ptr %p.release
  %p.type = getelementptr i64, ptr %d, i64 5
  %type = load ptr, ptr %p.type
  %p.none = getelementptr i64, ptr %d, i64 6
  %none = load ptr, ptr %p.none
  %p.exclusive = getelementptr i64, ptr %d, i64 7
  %exclusive = load i64, ptr %p.exclusive
  %records = getelementptr i64, ptr %d, i64 8
  %table = alloca ptr, i64 %size
  %spans = alloca %span, i64 %n
  %matches = icmp eq i64 %count, %n
  br i1 %matches, label %arrays.head, label %misfit

arrays.head:
  %i = phi i64 [ 0, %entry ], [ %i.next, %array.good ]
  %record = phi ptr [ %records, %entry ], [ %record.next, %array.good ]
  %i.more = icmp slt i64 %i, %n
  br i1 %i.more, label %array, label %overlap
array:
  %p.object = getelementptr ptr, ptr %arrays, i64 %i
  %object = load ptr, ptr %p.object
  %p.object.type = getelementptr i8, ptr %object, i64 8
  %object.type = load ptr, ptr %p.object.type
  %is.array = icmp eq ptr %object.type, %type
  br i1 %is.array, label %fields, label %misfit
fields:
  %p.data = getelementptr i8, ptr %object, i64 16
  %data = load ptr, ptr %p.data
  %p.rank = getelementptr i8, ptr %object, i64 24
  %rank.narrow = load i32, ptr %p.rank
  %rank = sext i32 %rank.narrow to i64
  %p.extents = getelementptr i8, ptr %object, i64 32
  %extents = load ptr, ptr %p.extents
  %p.dtype = getelementptr i8, ptr %object, i64 56
  %dtype = load ptr, ptr %p.dtype
  %p.flags = getelementptr i8, ptr %object, i64 64
  %flags.narrow = load i32, ptr %p.flags
  %flags = sext i32 %flags.narrow to i64
  %p.place = getelementptr i64, ptr %record, i64 0
  %place = load i64, ptr %p.place
  %p.want.dtype = getelementptr i64, ptr %record, i64 1
  %want.dtype = load ptr, ptr %p.want.dtype
  %p.want.flags = getelementptr i64, ptr %record, i64 2
  %want.flags = load i64, ptr %p.want.flags
  %p.bytes = getelementptr i64, ptr %record, i64 3
  %bytes = load i64, ptr %p.bytes
  %p.alone = getelementptr i64, ptr %record, i64 4
  %alone = load i64, ptr %p.alone
  %p.want.rank = getelementptr i64, ptr %record, i64 5
  %want.rank = load i64, ptr %p.want.rank
  %want.extents = getelementptr i64, ptr %record, i64 6
  %same.dtype = icmp eq ptr %dtype, %want.dtype
  %same.rank = icmp eq i64 %rank, %want.rank
  %has.flags = and i64 %flags, %want.flags
  %same.flags = icmp eq i64 %has.flags, %want.flags
  %same.1 = and i1 %same.dtype, %same.rank
  %same = and i1 %same.1, %same.flags
  br i1 %same, label %extents.head, label %misfit
extents.head:
  %j = phi i64 [ 0, %fields ], [ %j.next, %extent ]
  %j.more = icmp slt i64 %j, %rank
  br i1 %j.more, label %extent, label %array.good
extent:
  %p.have = getelementptr i64, ptr %extents, i64 %j
  %have = load i64, ptr %p.have
  %p.want = getelementptr i64, ptr %want.extents, i64 %j
  %want = load i64, ptr %p.want
  %j.next = add i64 %j, 1
  %same.extent = icmp eq i64 %have, %want
  br i1 %same.extent, label %extents.head, label %misfit
array.good:
  %p.slot = getelementptr ptr, ptr %table, i64 %place
  store ptr %data, ptr %p.slot
  %span = getelementptr %span, ptr %spans, i64 %i
  %end = getelementptr i8, ptr %data, i64 %bytes
  store ptr %data, ptr %span
  %p.end = getelementptr %span, ptr %span, i64 0, i32 1
  store ptr %end, ptr %p.end
  %p.is.alone = getelementptr %span, ptr %span, i64 0, i32 2
  store i64 %alone, ptr %p.is.alone
  %record.next = getelementptr i64, ptr %want.extents, i64 %rank
  %i.next = add i64 %i, 1
  br label %arrays.head

overlap:
  %shares = icmp ne i64 %exclusive, 0
  br i1 %shares, label %alone.head, label %constants.head
; Each array that must be alone (a) against every other one (b).
alone.head:
  %a = phi i64 [ 0, %overlap ], [ %a.next, %alone.good ]
  %a.more = icmp slt i64 %a, %n
  br i1 %a.more, label %alone.check, label %constants.head
alone.check:
  %a.span = getelementptr %span, ptr %spans, i64 %a
  %a.p.alone = getelementptr %span, ptr %a.span, i64 0, i32 2
  %a.alone = load i64, ptr %a.p.alone
  %a.must = icmp ne i64 %a.alone, 0
  br i1 %a.must, label %other.enter, label %alone.good
other.enter:
  %a.start = load ptr, ptr %a.span
  %a.p.end = getelementptr %span, ptr %a.span, i64 0, i32 1
  %a.end = load ptr, ptr %a.p.end
  br label %other.head
other.head:
  %b = phi i64 [ 0, %other.enter ], [ %b.next, %other ]
  %b.more = icmp slt i64 %b, %n
  br i1 %b.more, label %other, label %alone.good
other:
  %b.span = getelementptr %span, ptr %spans, i64 %b
  %b.start = load ptr, ptr %b.span
  %b.p.end = getelementptr %span, ptr %b.span, i64 0, i32 1
  %b.end = load ptr, ptr %b.p.end
  %b.before = icmp ult ptr %b.start, %a.end
  %b.after = icmp ult ptr %a.start, %b.end
  %b.meets = and i1 %b.before, %b.after
  %b.differs = icmp ne i64 %a, %b
  %b.wrong = and i1 %b.meets, %b.differs
  %b.next = add i64 %b, 1
  br i1 %b.wrong, label %misfit, label %other.head
alone.good:
  %a.next = add i64 %a, 1
  br label %alone.head

constants.head:
  %k = phi i64 [ 0, %overlap ], [ 0, %alone.head ], [ %k.next, %constant ]
  %k.more = icmp slt i64 %k, %constants
  br i1 %k.more, label %constant, label %run
constant:
  %k.twice = shl i64 %k, 1
  %p.c.place = getelementptr i64, ptr %record, i64 %k.twice
  %c.place = load i64, ptr %p.c.place
  %p.c.value = getelementptr i64, ptr %p.c.place, i64 1
  %c.value = load ptr, ptr %p.c.value
  %p.c.slot = getelementptr ptr, ptr %table, i64 %c.place
  store ptr %c.value, ptr %p.c.slot
  %k.next = add i64 %k, 1
  br label %constants.head

run:
  %releases = icmp ne i64 %release, 0
  br i1 %releases, label %run.released, label %run.held
run.released:
  %thread = call ptr @PyEval_SaveThread()
  call void %code(ptr %table)
  call void @PyEval_RestoreThread(ptr %thread)
  br label %done
run.held:
  call void %code(ptr %table)
  br label %done
done:
  call void @Py_IncRef(ptr %none)
  ret ptr %none
misfit:
  %position = phi i64 [ -1, %entry ], [ %i, %array ], [ %i, %fields ], [ %i, %extent ], [ %a, %other ]
  %answer = call ptr @PyLong_FromSsize_t(i64 %position)
  ret ptr %answer
}
