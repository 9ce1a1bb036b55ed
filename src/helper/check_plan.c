/* Plans checks and tells what becomes of backends. Once a second it looks which backends there are, renews what was found down, and shows that
 * it lives. Refuses to check one that has no place in the table. Owns what is known of each backend beside the table, and the checks under
 * way. */
#include "check_plan.h"
#include "backend_check.h"
#include "backend_walk.h"
#include "balance.h"
#include "check_run.h"
#include "decider.h"
#include "list.h"
#include "log.h"
#include "log_limit.h"
#include "policy.h"
#include "resolved.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#define LOOK_EACH_US 1000000
#define SOON_US      1000000 /* the first check comes within that */
#define TELL_EACH_US 60000000

struct checked {
	struct check_plan *plan;
	struct list_item item;    /* of all, */
	struct list_item in_line; /* of those that wait */
	const struct service *service;
	const struct backend *backend;
	struct address address;
	enum transport_kind transport;
	uint64_t key;
	uint32_t place;
	bool is_there; /* at the last look */
	bool waits;
	struct timer due;
	struct check_run *run; /* NULL: none is under way */
};

struct check_plan {
	struct loop *loop;
	const struct policy *policy;
	const struct resolved *resolved;
	struct backend_table *table;
	struct check_tls_context *tls;
	struct findings findings;
	struct list all, line;
	struct checked *at[BACKEND_PLACES]; /* NULL: it is not checked */
	unsigned n_running;
	uint64_t random;
	uint32_t names; /* the sum of the versions of all answers, at the last look */
	bool is_whole;  /* all had places then */
	struct log_limit told_short;
	struct timer tick;
	struct task look; /* where no event of a check can be under way */
};

static const struct check *check_of(const struct checked *checked)
{
	return checked->service->target.connect.check;
}

/* ---- when -------------------------------------------------------------------------------------------------------- */

/* Below `most`. */
static uint64_t plan_random(struct check_plan *plan, uint64_t most)
{
	plan->random = balance_mix(plan->random + 1);
	return most ? plan->random % most : 0;
}

/* Between 0.9 and 1.1 times `every' after it began. */
static void checked_again(struct checked *checked, uint64_t began_us)
{
	struct check_plan *plan = checked->plan;
	uint64_t every_us = check_of(checked)->every_us;

	loop_timer(plan->loop, &checked->due, began_us + every_us * 9 / 10 + plan_random(plan, every_us / 5));
}

/* Where it was checked before this process began, as if that one had gone on. */
static void checked_first(struct checked *checked)
{
	struct check_plan *plan = checked->plan;
	const struct backend_check *check = backend_table_check_look(plan->table, checked->place);
	uint64_t last_us = atomic_load(&check->at_us), every_us = check_of(checked)->every_us;

	if (last_us && last_us <= plan->loop->now_us && plan->loop->now_us - last_us < every_us)
		checked_again(checked, last_us);
	else
		loop_timer(plan->loop, &checked->due,
			plan->loop->now_us + plan_random(plan, every_us < SOON_US ? every_us : SOON_US));
}

/* ---- what came of it --------------------------------------------------------------------------------------------- */

static void checked_tell(const struct checked *checked, enum backend_change change, uint32_t word)
{
	const struct backend *backend = checked->backend;
	char address[ADDRESS_TEXT_MAX], text[CHECK_TEXT_MAX], where[512];

	if (backend->name == BACKEND_NO_NAME)
		snprintf(where, sizeof(where), "%s", backend->text);
	else
		snprintf(where, sizeof(where), "%s (%s)", backend->text, address_format(&checked->address, address));
	check_word_text(word, text);
	if (change == BACKEND_CAME_UP)
		log_notice("service %s: backend %s is up again", checked->service->name, where);
	else if (change == BACKEND_WENT_DOWN)
		log_notice("service %s: backend %s is down (check: %s): others are tried first",
			checked->service->name, where, text);
	else
		log_debug("service %s: backend %s: check: %s", checked->service->name, where, text);
}

static void plan_tell_short(struct check_plan *plan)
{
	unsigned n = log_limit_count(&plan->told_short, TELL_EACH_US, plan->loop->now_us);

	if (n)
		log_warning("%u checks of backends had no result: no descriptor, memory or local port was left", n);
}

static void plan_go_on(struct check_plan *plan);

static void run_over(struct check_run *run, uint32_t word, uint64_t took_us)
{
	struct checked *checked = run->context;
	struct check_plan *plan = checked->plan;
	const struct check *check = check_of(checked);
	const struct backend_check_rule rule = {
		.rise = check->rise,
		.fall = check->fall,
		.is_elsewhere = check->port > 0 || (checked->transport == TRANSPORT_DATAGRAM && !run->is_datagram),
	};

	checked->run = NULL;
	plan->n_running--;
	checked_again(checked, run->started_us);
	free(run);
	if (check_word_result(word) == CHECK_NONE)
		plan_tell_short(plan);
	else if (backend_table_is_at(plan->table, checked->place, checked->key))
		checked_tell(checked,
			backend_check_note(plan->table, checked->place, &rule, word, took_us, plan->loop->now_us),
			word);
	plan_go_on(plan);
}

/* ---- one begins -------------------------------------------------------------------------------------------------- */

static void host_write(const struct checked *checked, char host[CHECK_HOST_MAX])
{
	char address[ADDRESS_TEXT_MAX];

	if (check_of(checked)->sni)
		snprintf(host, CHECK_HOST_MAX, "%s", check_of(checked)->sni);
	else if (checked->backend->name != BACKEND_NO_NAME &&
		strncasecmp(checked->backend->text, RESOLVED_SRV, strlen(RESOLVED_SRV)) != 0)
		snprintf(host, CHECK_HOST_MAX, "%s", checked->backend->text);
	else if (address_is_ip(&checked->address))
		snprintf(host, CHECK_HOST_MAX, "%s", address_format(&checked->address, address));
	else
		snprintf(host, CHECK_HOST_MAX, "localhost");
}

static void checked_begin(struct checked *checked)
{
	struct check_plan *plan = checked->plan;
	const struct check *check = check_of(checked);
	struct check_run *run = calloc(1, sizeof(*run));

	if (!run) {
		checked_again(checked, plan->loop->now_us);
		plan_tell_short(plan);
		return;
	}
	run->loop = plan->loop;
	run->check = check;
	run->context = checked;
	run->tls_context = plan->tls;
	run->findings = &plan->findings;
	run->address = checked->address;
	run->is_datagram = checked->transport == TRANSPORT_DATAGRAM && check->datagrams == CHECK_DATAGRAMS;
	run->send_proxy = check->port ? 0 : checked->service->target.connect.send_proxy;
	run->over = run_over;
	if (check->port)
		address_set_port(&run->address, check->port);
	host_write(checked, run->host);
	if (check_run_begin(run) < 0) {
		free(run);
		checked_again(checked, plan->loop->now_us);
		plan_tell_short(plan);
		return;
	}
	checked->run = run;
	plan->n_running++;
}

static struct checked *first_in_line(const struct check_plan *plan)
{
	return list_of(plan->line.first, struct checked, in_line);
}

static void plan_go_on(struct check_plan *plan)
{
	struct checked *first;

	while (plan->n_running < CHECKS_AT_A_TIME && (first = first_in_line(plan))) {
		list_remove(&plan->line, &first->in_line);
		first->waits = false;
		checked_begin(first);
	}
}

static void checked_due(struct timer *timer)
{
	struct checked *checked = container_of(timer, struct checked, due);

	checked->waits = true;
	list_append(&checked->plan->line, &checked->in_line);
	plan_go_on(checked->plan);
}

/* ---- which ------------------------------------------------------------------------------------------------------- */

static void checked_free(struct checked *checked)
{
	struct check_plan *plan = checked->plan;

	loop_timer_stop(plan->loop, &checked->due);
	if (checked->waits)
		list_remove(&plan->line, &checked->in_line);
	if (checked->run) {
		check_run_cancel(checked->run);
		free(checked->run);
		plan->n_running--;
	}
	list_remove(&plan->all, &checked->item);
	plan->at[checked->place] = NULL;
	free(checked);
}

static int look_at(void *context, const struct backend_at *at)
{
	struct check_plan *plan = context;

	if (!at->key || !check_is_for(at->service->target.connect.check, at->transport))
		return 0;
	uint32_t place = backend_table_place(plan->table, BACKEND_CHECKER, at->service_hash, at->key);
	struct checked *checked = place == BACKEND_NONE ? NULL : plan->at[place];
	if (checked && checked->key == at->key) {
		checked->is_there = true;
		return 0;
	}
	if (checked)
		checked_free(checked); /* its place was given back, and is another's */
	checked = place == BACKEND_NONE ? NULL : calloc(1, sizeof(*checked));
	if (!checked) {
		plan->is_whole = false;
		return 0;
	}
	*checked = (struct checked){
		.plan = plan,
		.service = at->service,
		.backend = at->backend,
		.address = at->address,
		.transport = at->transport,
		.key = at->key,
		.place = place,
		.is_there = true,
		.due = { .fired = checked_due },
	};
	plan->at[place] = checked;
	list_append(&plan->all, &checked->item);
	checked_first(checked);
	return 0;
}

static struct checked *checked_of(struct list_item *item)
{
	return list_of(item, struct checked, item);
}

static uint32_t names_edition(const struct check_plan *plan)
{
	struct resolved_state state;
	uint32_t sum = 0;

	for (size_t i = 0; plan->resolved && i < plan->policy->n_names; i++) {
		resolved_look(plan->resolved, i, &state);
		sum += state.version;
	}
	return sum;
}

static void plan_look(struct task *task)
{
	struct check_plan *plan = container_of(task, struct check_plan, look);
	uint32_t names = names_edition(plan);

	if (plan->is_whole && names == plan->names)
		return;
	plan->names = names;
	plan->is_whole = true;
	for (struct checked *one = checked_of(plan->all.first); one; one = checked_of(one->item.next))
		one->is_there = false;
	backend_walk(plan->policy, plan->resolved, look_at, plan);
	for (struct checked *one = checked_of(plan->all.first), *next; one; one = next) {
		next = checked_of(one->item.next);
		if (!one->is_there)
			checked_free(one);
	}
	plan_go_on(plan);
}

static void plan_tick(struct timer *timer)
{
	struct check_plan *plan = container_of(timer, struct check_plan, tick);
	uint64_t now_us = plan->loop->now_us;

	backend_table_beat(plan->table, now_us);
	for (const struct checked *one = checked_of(plan->all.first); one; one = checked_of(one->item.next))
		backend_health_check_renew(&backend_table_at(plan->table, one->place)->health, now_us);
	loop_defer(plan->loop, &plan->look);
	loop_timer(plan->loop, timer, now_us + LOOK_EACH_US);
}

struct check_plan *check_plan_new(struct loop *loop, const struct policy *policy, const struct resolved *resolved,
	struct backend_table *table, struct check_tls_context *tls)
{
	struct check_plan *plan = calloc(1, sizeof(*plan));

	if (!plan)
		return NULL;
	plan->loop = loop;
	plan->policy = policy;
	plan->resolved = resolved;
	plan->table = table;
	plan->tls = tls;
	plan->tick.fired = plan_tick;
	plan->look.run = plan_look;
	if (getrandom(&plan->random, sizeof(plan->random), GRND_NONBLOCK) < 0)
		plan->random = loop->now_us;
	if (loop_timer(loop, &plan->tick, loop->now_us) == 0)
		return plan;
	free(plan);
	return NULL;
}

void check_plan_free(struct check_plan *plan)
{
	if (!plan)
		return;
	while (plan->all.first)
		checked_free(checked_of(plan->all.first));
	loop_timer_stop(plan->loop, &plan->tick);
	loop_cancel(plan->loop, &plan->look);
	free(plan);
}
