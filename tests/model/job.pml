/*
 * One job of two tasks; two workers that may die, stop or be held up at any point; their leases; a
 * rescuer; and two operators who act on what they saw a while ago.
 *
 * Each atomic block is one statement of the engine, and between two of them is time. Each guard, and
 * each rise of the fence, has a name, so that a test can take it out: spin -DFENCE_IN_FAIL=true.
 * What must hold is said without them, of things that no statement can see: whose run counts, which
 * leases were kept, what an operator has read.
 */

#define WORKERS 2
#define OPERATORS 2
#define TASKS 2
#define MAX_CRASHES 2
/* What may go wrong in all: workers that die, stop, or let their lease run out. */
#ifndef MISHAPS
#define MISHAPS 1
#endif

#define RUNS (state == PROCESSING)
#define WAITS (state == NEW || state == READY)
#define STOPPED_SHORT (state == FAILED || state == CANCELLED)
#define FINISHED (state == COMPLETED || STOPPED_SHORT)
/* Too weak a guard of a claim, for the test to put in */
#define WAITS_OR_CANCELLED (WAITS || state == CANCELLED)

/* By a worker, on a job nobody holds */
#ifndef STATE_IN_CLAIM
#define STATE_IN_CLAIM WAITS
#endif
/* By a worker, on a job it holds */
#ifndef FENCE_IN_CHECKPOINT
#define FENCE_IN_CHECKPOINT (fence == mine)
#endif
#ifndef FENCE_IN_ADVANCE
#define FENCE_IN_ADVANCE (fence == mine)
#endif
#ifndef FENCE_IN_COMPLETE
#define FENCE_IN_COMPLETE (fence == mine)
#endif
#ifndef FENCE_IN_FAIL
#define FENCE_IN_FAIL (fence == mine)
#endif
#ifndef FENCE_IN_RELEASE
#define FENCE_IN_RELEASE (fence == mine)
#endif
/* By a worker, on its own row */
#ifndef LEASE_IN_RENEW
#define LEASE_IN_RENEW (lease[_pid] != TAKEN)
#endif
/* By whoever finds a dead worker */
#ifndef LEASE_IN_DECLARE
#define LEASE_IN_DECLARE (lease[owner] == OUT)
#endif
#ifndef STATE_IN_RESCUE
#define STATE_IN_RESCUE RUNS
#endif
#ifndef OWNER_IN_RESCUE
#define OWNER_IN_RESCUE (owner == dead)
#endif
#ifndef SOMEBODY_RESCUES
#define SOMEBODY_RESCUES true
#endif
/* By an operator */
#ifndef STATE_IN_CANCEL
#define STATE_IN_CANCEL WAITS
#endif
#ifndef STATE_IN_RETRY
#define STATE_IN_RETRY STOPPED_SHORT
#endif
#ifndef STATE_IN_REQUEUE
#define STATE_IN_REQUEUE FINISHED
#endif
#ifndef STATE_IN_DELETE
#define STATE_IN_DELETE FINISHED
#endif
#ifndef STATE_IN_EDIT
#define STATE_IN_EDIT (state == seen)
#endif
#ifndef VERSION_IN_EDIT
#define VERSION_IN_EDIT (version == seen_version)
#endif
/* How far the fence rises */
#ifndef RISE_IN_CLAIM
#define RISE_IN_CLAIM 1
#endif
#ifndef RISE_AT_THE_END
#define RISE_AT_THE_END 1
#endif
#ifndef RISE_IN_RELEASE
#define RISE_IN_RELEASE 1
#endif
#ifndef RISE_IN_RESCUE
#define RISE_IN_RESCUE 1
#endif
#ifndef RISE_IN_ACTS
#define RISE_IN_ACTS 1
#endif

mtype:state = { NEW, READY, PROCESSING, COMPLETED, FAILED, CANCELLED, GONE };
mtype:lease = { HELD, OUT, TAKEN };

/* The rows of the workers that live, and of one that does not but holds the job. */
#define ROWS 3
#define PAST 2
#define NOBODY 3

/* The job's row */
mtype:state state = NEW;
byte task = 1;
byte fence;
byte version;
byte owner = NOBODY;
byte crash_count;
bool cancel_requested;

/* The workers' rows */
mtype:lease lease[ROWS] = HELD;
/* The one that the rescuer has in hand */
byte dead = NOBODY;

/* What is so, whatever the rows say */
bool counts[WORKERS];      /* this worker's run is the one that counts */
bool in_time[ROWS] = true; /* this lease has been kept */
bool has_read[OPERATORS];  /* this operator's page shows the workspace as it is */
byte done;                 /* tasks whose end was accepted in this round */
bool is_stopped;           /* cancelled, and not set going since */
bool has_ended;            /* came to an end, and was not set going since */
byte mishaps;
/* How many remember a fence, or a version: with nobody left, counting may begin anew. */
byte claimers, readers;

inline count_version() {
    if
    :: readers > 0 -> version++
    :: else -> skip
    fi
}

/* No more runs count: nobody may lose a job whose lease it keeps. */
inline take_away() {
    assert(!(RUNS && in_time[owner]));
    give_up()
}

inline give_up() {
    counts[0] = false;
    counts[1] = false;
    owner = NOBODY;
    count_version()
}

inline change_workspace() {
    has_read[0] = false;
    has_read[1] = false
}

inline end_as(final) {
    state = final;
    has_ended = true;
    is_stopped = (final == CANCELLED)
}

inline set_going(waiting) {
    state = waiting;
    has_ended = false;
    is_stopped = false;
    crash_count = 0;
    cancel_requested = false
}

/* A worker's write is accepted: from the run that counts only. */
inline accept() {
    assert(counts[_pid]);
    count_version()
}

/* Tasks end in their order, each once a round. */
inline accept_task() {
    accept();
    assert(running == done + 1);
    done = running;
    crash_count = 0;
    change_workspace()
}

inline forget_run() {
    mine = 0;
    running = 0;
    is_saved = false;
    claimers--;
    if
    :: claimers == 0 -> fence = 0
    :: else -> skip
    fi
}

/* What it held belongs to a row of the past; it goes on, or another in its stead, under a new one. */
inline begin_anew(past_lease) {
    /* Rows are never used again, so whoever remembers one goes on meaning the same. */
    if
    :: owner == _pid ->
        owner = PAST;
        lease[PAST] = past_lease;
        in_time[PAST] = in_time[_pid];
        dead = (dead == _pid -> PAST : NOBODY)
    :: owner != _pid && dead == _pid -> dead = NOBODY
    :: else -> skip
    fi;
    counts[_pid] = false;
    lease[_pid] = HELD;
    in_time[_pid] = true
}

inline renew() {
    atomic { lease[_pid] != HELD && LEASE_IN_RENEW -> lease[_pid] = HELD; in_time[_pid] = true }
}

inline run_tasks() {
    do
    :: atomic {
        /* a checkpoint */
        !is_saved ->
        is_saved = true;
        if
        :: FENCE_IN_CHECKPOINT -> accept(); change_workspace()
        :: else -> forget_run(); break
        fi
    }
    :: atomic {
        /* the end of a task that is not the last */
        running < TASKS ->
        if
        :: FENCE_IN_ADVANCE ->
            accept_task();
            task = running + 1;
            if
            :: /* the next one, under the same claim */
                running = task;
                is_saved = false
            :: /* back in line, because the queue was paused or others come first */
                give_up();
                state = READY;
                fence = fence + RISE_IN_RELEASE;
                forget_run();
                break
            :: cancel_requested ->
                give_up();
                end_as(CANCELLED);
                fence = fence + RISE_AT_THE_END;
                forget_run();
                break
            fi
        :: else -> forget_run(); break
        fi
    }
    :: atomic {
        running == TASKS ->
        if
        :: FENCE_IN_COMPLETE ->
            accept_task();
            give_up();
            end_as(COMPLETED);
            fence = fence + RISE_AT_THE_END
        :: else -> skip
        fi;
        forget_run();
        break
    }
    :: atomic {
        /* the task raises */
        if
        :: FENCE_IN_FAIL ->
            accept();
            give_up();
            end_as(FAILED);
            fence = fence + RISE_AT_THE_END
        :: else -> skip
        fi;
        forget_run();
        break
    }
    :: atomic {
        /* the worker is told to stop and gives the job back; the task's thread may still write */
        mishaps < MISHAPS ->
        mishaps++;
        if
        :: FENCE_IN_RELEASE -> accept(); give_up(); state = READY; fence = fence + RISE_IN_RELEASE
        :: else -> skip
        fi
    }
    :: renew()
    :: atomic {
        /* it hears that it is held for dead, and drops what it has */
        lease[_pid] == TAKEN ->
        begin_anew(TAKEN);
        forget_run();
        break
    }
    :: atomic {
        /* it dies, and its supervisor starts another */
        mishaps < MISHAPS ->
        mishaps++;
        begin_anew(lease[_pid]);
        forget_run();
        break
    }
    od
}

active [WORKERS] proctype Worker() {
    byte mine;
    byte running;
    bool is_saved;

end:
    do
    :: atomic {
        STATE_IN_CLAIM && state != GONE ->
        /* What was cancelled while it waited does not begin. */
        assert(!is_stopped);
        take_away();
        state = PROCESSING;
        fence = fence + RISE_IN_CLAIM;
        owner = _pid;
        counts[_pid] = true;
        mine = fence;
        running = task;
        claimers++
    }
       run_tasks()
    :: renew()
    :: atomic { lease[_pid] == TAKEN -> begin_anew(TAKEN) }
    od
}

active proctype Clock() {
end:
    do
    :: atomic {
        owner != NOBODY && lease[owner] == HELD && (owner == PAST || mishaps < MISHAPS) ->
        mishaps = mishaps + (owner != PAST);
        lease[owner] = OUT;
        in_time[owner] = false
    }
    od
}

active proctype Rescuer() {
end:
    do
    :: atomic {
        SOMEBODY_RESCUES && owner != NOBODY && lease[owner] != TAKEN && LEASE_IN_DECLARE ->
        lease[owner] = TAKEN
    }
    :: atomic { owner != NOBODY && lease[owner] == TAKEN -> dead = owner }
       atomic {
        if
        :: STATE_IN_RESCUE && OWNER_IN_RESCUE && state != GONE ->
            take_away();
            fence = fence + RISE_IN_RESCUE;
            crash_count++;
            if
            :: cancel_requested -> end_as(CANCELLED)
            :: !cancel_requested && crash_count >= MAX_CRASHES -> end_as(FAILED)
            :: else -> state = READY
            fi
        :: else -> skip
        fi;
        dead = NOBODY
       }
    od
}

inline cancel() {
    atomic {
        if
        :: STATE_IN_CANCEL && state != GONE ->
            take_away();
            end_as(CANCELLED);
            fence = fence + RISE_IN_ACTS
        :: else -> skip
        fi
    }
}

inline ask_to_end() {
    atomic {
        if
        :: RUNS -> cancel_requested = true
        :: else -> skip
        fi
    }
}

inline retry() {
    atomic {
        if
        :: STATE_IN_RETRY && state != GONE ->
            take_away();
            set_going(READY);
            fence = fence + RISE_IN_ACTS
        :: else -> skip
        fi
    }
}

inline requeue() {
    atomic {
        if
        :: STATE_IN_REQUEUE && state != GONE ->
            take_away();
            set_going(NEW);
            task = 1;
            done = 0;
            change_workspace();
            fence = fence + RISE_IN_ACTS
        :: else -> skip
        fi
    }
}

inline delete() {
    atomic {
        if
        :: STATE_IN_DELETE && state != GONE ->
            /* No job disappears that has not ended. */
            assert(has_ended);
            take_away();
            state = GONE
        :: else -> skip
        fi
    }
}

#define ME (_pid - WORKERS - 2)

inline read() {
    seen = state;
    seen_version = version;
    has_read[ME] = true;
    readers++
}

inline edit() {
    atomic {
        if
        :: STATE_IN_EDIT && VERSION_IN_EDIT && state != GONE ->
            /* Nothing is overwritten unread, or under a run. */
            assert(has_read[ME]);
            assert(!(RUNS && in_time[owner]));
            change_workspace();
            count_version();
            fence = fence + RISE_IN_ACTS
        :: else -> skip
        fi;
        seen = 0;
        seen_version = 0;
        has_read[ME] = false;
        readers--;
        if
        :: readers == 0 -> version = 0
        :: else -> skip
        fi
    }
}

/* Two operators look, think, and act; the job may be elsewhere by then. */
active [OPERATORS] proctype Operator() {
    mtype:state seen;
    byte seen_version;

    if
    :: WAITS -> cancel()
    :: RUNS -> ask_to_end()
    :: STOPPED_SHORT -> retry()
    :: FINISHED -> requeue()
    :: FINISHED -> delete()
    :: atomic { WAITS || STOPPED_SHORT -> read() }
       edit()
    :: state == GONE -> skip
    fi
}

/* Whatever happens, the job ends, as long as somebody runs it and somebody rescues it. */
ltl ends { []<> (FINISHED || state == GONE) }
