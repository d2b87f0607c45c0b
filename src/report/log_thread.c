/* SPDX-License-Identifier: MIT */
/* The log thread: takes records out of the queue and writes them to a sink. Only this thread ever waits for one. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "report/log_priv.h"
#include "report/log_queue.h"

/* Once awake the thread lets records gather before it takes them: a wake-up for each would cost the worker more than
 * the record does. */
#define COLLECT_MS 5

/* Losses are told of when the queue has been emptied; if it never is, this often. */
#define LOSS_TOLD_MS 10000

/* How long a record that its caller writes may take. */
#define WRITE_NOW_MS 1000

enum log_state {
	LOG_STATE_NEW,	   /* never started */
	LOG_STATE_RUNNING, /* the thread takes from the queue */
	LOG_STATE_STOPPED,
	LOG_STATE_LEFT, /* the thread was stuck when it was to end; it still owns the queue's taking side */
};

/* All static: a thread that is left stuck goes on using it. */
static struct log_queue queue;
static char queue_memory[LOG_QUEUE_BYTES];
static char batch[LOG_BATCH_BYTES];
static _Atomic int state = LOG_STATE_NEW;
static _Atomic bool fields_wanted;
static const struct log_sink *sink; /* borrowed; written before the thread is created */
static pthread_t thread;

static pthread_mutex_t end_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t end_changed;
static bool ended; /* guarded by end_lock */

static _Atomic uint64_t lost_before; /* in the queues of earlier starts */
static _Atomic uint64_t unwritten;   /* records that stderr or the journal did not take */

/* The log thread's own */
static uint64_t told_lost;
static uint64_t told_unwritten;
static uint64_t loss_seen_ms; /* 0: none that is untold */

bool log_wants_fields(void)
{
	if (atomic_load_explicit(&fields_wanted, memory_order_relaxed))
		return true;
	return atomic_load(&state) != LOG_STATE_RUNNING && log_stderr_is_journal();
}

uint64_t log_lost(void)
{
	uint64_t lost = atomic_load(&lost_before) + atomic_load(&unwritten);
	int now = atomic_load(&state);
	if (now == LOG_STATE_RUNNING || now == LOG_STATE_LEFT)
		lost += log_queue_lost(&queue);
	return lost;
}

void log_deliver(const struct log_entry *e)
{
	if (atomic_load(&state) == LOG_STATE_RUNNING && log_queue_put(&queue, e) != -ESHUTDOWN)
		return;
	/* behind a log thread that is stuck there, only what stderr takes at once */
	int limit_ms = atomic_load(&state) == LOG_STATE_LEFT ? 0 : WRITE_NOW_MS;
	if (log_stderr_is_journal() && log_journal_write_now(e, (unsigned)limit_ms) == 0)
		return;
	if (log_stderr_write_now(e, limit_ms) < 0)
		atomic_fetch_add(&unwritten, 1);
}

bool log_is_stopping(void)
{
	return !log_queue_is_open(&queue);
}

bool log_is_left(void)
{
	return atomic_load(&state) == LOG_STATE_LEFT;
}

void log_poke(void)
{
	if (atomic_load(&state) == LOG_STATE_RUNNING)
		log_queue_poke(&queue);
}

/* Writes a record of the log thread's own, past the queue, which may be full. Returns false if it could not. */
static bool PRINTF_LIKE(2, 3) write_own(const struct log_record *r, const char *format, ...)
{
	char memory[LOG_MESSAGE_BYTES];
	struct log_entry e;

	if (!r->wanted)
		return true;
	va_list args;
	va_start(args, format);
	log_entry_make(&e, r, memory, format, args);
	va_end(args);
	unsigned failed = sink->put(&e) + sink->flush();
	atomic_fetch_add(&unwritten, failed);
	return failed == 0;
}

static void write_held_back(const char *what, unsigned held)
{
	struct log_record r;
	log_begin(&r, LOG_LEVEL_WARNING, LOG_HELD_BACK);
	log_field(&r, "USHER_COUNT", "%u", held);
	log_field(&r, "USHER_SECONDS", "%u", LOG_LIMIT_WINDOW_MS / 1000);
	(void)write_own(&r, "%u more records like \"%s\" were held back in the last %us", held, what,
			LOG_LIMIT_WINDOW_MS / 1000);
}

static bool write_lost(uint64_t count, const char *why)
{
	struct log_record r;
	log_begin(&r, LOG_LEVEL_WARNING, LOG_LOST);
	log_field(&r, "USHER_COUNT", "%llu", (unsigned long long)count);
	return write_own(&r, "%llu log records were lost: %s", (unsigned long long)count, why);
}

static void tell_losses(bool emptied)
{
	uint64_t lost = log_queue_lost(&queue);
	uint64_t failed = atomic_load(&unwritten);
	if (lost == told_lost && failed == told_unwritten)
		return;
	uint64_t now_ms = clock_now_ms();
	if (loss_seen_ms == 0)
		loss_seen_ms = now_ms;
	if (!emptied && now_ms - loss_seen_ms < LOSS_TOLD_MS)
		return;
	if (lost != told_lost && write_lost(lost - told_lost, "the queue was full"))
		told_lost = lost;
	if (failed != told_unwritten && write_lost(failed - told_unwritten, "they could not be written"))
		told_unwritten = failed;
	loss_seen_ms = 0;
}

/* Returns false if the sink did not take all of it. */
static bool write_batch(size_t n)
{
	unsigned failed = 0;
	for (size_t at = 0; at < n;) {
		struct log_entry e;
		at += log_entry_unpack(&e, batch + at);
		failed += sink->put(&e);
	}
	failed += sink->flush();
	atomic_fetch_add(&unwritten, failed);
	return failed == 0;
}

/* Writes what is in the queue, as long as there are large batches of it. What comes while a small one is written is
 * left for the next turn, unless `to_the_end`. */
static void write_queued(bool to_the_end)
{
	const size_t go_on_bytes = to_the_end ? 0 : sizeof(batch) / 2;
	bool taken = false;
	size_t n;

	while ((n = log_queue_take(&queue, batch, sizeof(batch))) > 0) {
		taken = write_batch(n);
		if (log_is_left())
			return;
		if (n <= go_on_bytes)
			break;
		if (taken)
			tell_losses(false);
	}
	/* A sink that takes nothing would not take the news either. And what was lost comes after what is in the queue, which
	 * may have filled while the sink was waited for. */
	if (taken)
		tell_losses(log_queue_is_empty(&queue));
}

static void collect(void)
{
	struct timespec pause = {.tv_nsec = COLLECT_MS * 1000000L};
	nanosleep(&pause, NULL);
}

static void *log_thread_main(void *unused)
{
	uint64_t look_at_ms = 0;
	bool open;

	(void)unused;
	do {
		open = log_queue_wait(&queue, look_at_ms);
		if (open)
			collect();
		write_queued(!open);
		look_at_ms = log_limits_look(clock_now_ms(), !open, write_held_back);
	} while (open);

	pthread_mutex_lock(&end_lock);
	ended = true;
	pthread_cond_signal(&end_changed);
	pthread_mutex_unlock(&end_lock);
	return NULL;
}

static int create_thread(void)
{
	sigset_t all;
	sigset_t before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(&thread, NULL, log_thread_main, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r == 0)
		pthread_setname_np(thread, "usherd-log");
	return -r;
}

int log_start_sink(const struct log_sink *to)
{
	int was = atomic_load(&state);
	if (was == LOG_STATE_RUNNING || was == LOG_STATE_LEFT)
		return -EALREADY;
	if (was == LOG_STATE_STOPPED)
		log_queue_fini(&queue);
	atomic_store(&state, LOG_STATE_NEW);
	int r = log_cond_init(&end_changed);
	if (r < 0)
		return r;
	r = log_queue_init(&queue, queue_memory, sizeof(queue_memory));
	if (r < 0)
		goto fail_cond;
	sink = to;
	ended = false;
	told_lost = 0;
	told_unwritten = atomic_load(&unwritten);
	loss_seen_ms = 0;
	atomic_store(&fields_wanted, to->wants_fields);
	if (to->prepare != NULL)
		to->prepare();
	r = create_thread();
	if (r < 0)
		goto fail_queue;
	atomic_store(&state, LOG_STATE_RUNNING);
	return 0;

fail_queue:
	atomic_store(&fields_wanted, false);
	log_queue_fini(&queue);
fail_cond:
	pthread_cond_destroy(&end_changed);
	return r;
}

int log_start(enum log_target target)
{
	if (target == LOG_TARGET_AUTO)
		target = log_stderr_is_journal() ? LOG_TARGET_JOURNAL : LOG_TARGET_STDERR;
	return log_start_sink(target == LOG_TARGET_JOURNAL ? &log_sink_journal : &log_sink_stderr);
}

/* Returns true once the thread has ended, false if it has not after `wait_ms`. */
static bool wait_for_end(unsigned wait_ms)
{
	uint64_t until_ms = clock_now_ms() + wait_ms;
	struct timespec until = {
		.tv_sec = (time_t)(until_ms / 1000),
		.tv_nsec = (long)(until_ms % 1000) * 1000000L,
	};
	int r = 0;

	pthread_mutex_lock(&end_lock);
	while (!ended && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&end_changed, &end_lock, &until);
	bool has_ended = ended;
	pthread_mutex_unlock(&end_lock);
	return has_ended;
}

void log_stop(unsigned wait_ms)
{
	if (atomic_load(&state) != LOG_STATE_RUNNING)
		return;
	log_queue_close(&queue);
	atomic_store(&fields_wanted, false);
	if (!wait_for_end(wait_ms)) {
		/* the sink is stuck, and a thread in write(2) cannot be ended: it is left behind, with all that it
		 * uses */
		pthread_detach(thread);
		atomic_store(&state, LOG_STATE_LEFT);
		return;
	}
	pthread_join(thread, NULL);
	atomic_fetch_add(&lost_before, log_queue_lost(&queue));
	atomic_store(&state, LOG_STATE_STOPPED);
	pthread_cond_destroy(&end_changed);
	/* the queue stays as it is, closed: a thread that still logs may be looking at it */
}
