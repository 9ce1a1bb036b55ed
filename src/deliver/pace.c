/* Waits of a direction for its buckets. Refuses to know what moves: it says how many bytes may be read, and is told how many were. The line belongs
 * to the worker, the pace to the relay. */
#include "pace.h"

/* Who must wait waits for a quarter of the burst, 25 ms: so a direction is woken 40 times a second at most. A slice is what one gets of a shared
 * bucket while others wait. */
#define WAIT_SHARE  4
#define SLICE_SHARE 16
#define SLICE_LEAST (BYTE_BURST_LEAST / 4)
#define SLICE_MOST  65536

static uint64_t slice_of(const struct byte_rate *rate)
{
	uint64_t slice = rate->burst / SLICE_SHARE;

	return slice < SLICE_LEAST ? SLICE_LEAST : slice > SLICE_MOST ? SLICE_MOST : slice;
}

/* ---- the line ---- */

static void line_wait(struct pace_line *line)
{
	uint64_t due_us = pace_table_due_us(
		line->table, line->key, &line->rate, line->rate.burst / WAIT_SHARE, line->loop->now_us);

	loop_timer(line->loop, &line->timer, due_us); /* without memory somebody who comes later starts it */
}

static void line_leave(struct pace_line *line, struct pace *pace)
{
	list_remove(&line->waiting, &pace->in_line);
	pace->waits = false;
	if (!line->waiting.first)
		loop_timer_stop(line->loop, &line->timer);
}

static void line_due(struct timer *timer)
{
	struct pace_line *line = container_of(timer, struct pace_line, timer);
	uint64_t slice = slice_of(&line->rate), now_us = line->loop->now_us;
	struct pace *pace;

	while ((pace = list_of(line->waiting.first, struct pace, in_line))) {
		pace->granted = pace_table_take(line->table, line->key, &line->rate, slice, slice, now_us);
		if (pace->granted == 0) {
			line_wait(line);
			return;
		}
		line_leave(line, pace);
		loop_defer(pace->loop, pace->wake);
	}
}

void pace_line_init(
	struct pace_line *line, struct loop *loop, struct pace_table *table, uint64_t key, struct byte_rate rate)
{
	*line = (struct pace_line){
		.loop = loop, .table = table, .key = key, .rate = rate, .timer = { .fired = line_due }
	};
}

/* False: it stands in the line now. Nobody gets ahead of those who wait. */
static bool line_take(struct pace_line *line, struct pace *pace, uint64_t most)
{
	uint64_t slice = slice_of(&line->rate);

	if (most > line->rate.burst)
		most = line->rate.burst;
	if (!line->waiting.first)
		pace->granted = pace_table_take(
			line->table, line->key, &line->rate, most < slice ? most : slice, most, line->loop->now_us);
	if (pace->granted)
		return true;
	list_append(&line->waiting, &pace->in_line);
	pace->waits = true;
	if (!timer_is_running(&line->timer))
		line_wait(line);
	return false;
}

/* ---- a direction ---- */

static void pace_due(struct timer *timer)
{
	struct pace *pace = container_of(timer, struct pace, rest);
	loop_defer(pace->loop, pace->wake);
}

void pace_init(struct pace *pace, struct loop *loop, struct task *wake, struct byte_rate own, struct pace_line *line)
{
	*pace = (struct pace){ .loop = loop, .wake = wake, .own = own, .line = line, .rest = { .fired = pace_due } };
}

bool pace_is_waiting(const struct pace *pace)
{
	return pace->waits || timer_is_running(&pace->rest);
}

size_t pace_room(struct pace *pace, size_t most)
{
	uint64_t now_us = pace->loop->now_us, room = most;

	if (pace_is_waiting(pace))
		return 0;
	if (pace->own.each_s) {
		uint64_t enough = pace->own.burst / WAIT_SHARE, there;
		there = byte_bucket_room(pace->full_ns, &pace->own, now_us);
		if (there < enough && /* without memory for a timer it goes on */
			loop_timer(pace->loop, &pace->rest,
				byte_bucket_due_us(pace->full_ns, &pace->own, enough, now_us)) == 0)
			return 0;
		room = there < room ? there : room;
	}
	if (pace->line && !pace->granted && !line_take(pace->line, pace, room))
		return 0;
	return pace->line && pace->granted < room ? (size_t)pace->granted : (size_t)room;
}

void pace_moved(struct pace *pace, size_t bytes)
{
	if (pace->own.each_s)
		pace->full_ns = byte_bucket_taken(pace->full_ns, &pace->own, bytes, pace->loop->now_us);
	if (pace->line)
		pace->granted -= bytes < pace->granted ? bytes : pace->granted;
}

void pace_rest(struct pace *pace)
{
	if (pace->granted)
		pace_table_give_back(pace->line->table, pace->line->key, &pace->line->rate, pace->granted);
	pace->granted = 0;
}

void pace_leave(struct pace *pace)
{
	if (pace->waits)
		line_leave(pace->line, pace);
	if (pace->loop)
		loop_timer_stop(pace->loop, &pace->rest);
	pace_rest(pace);
}
