/* The stock of sockets that somebody else makes: who waits and in which order, how many are asked for, and what
 * errors do. The sockets here are any descriptors. After each test the process has as many as before. */
#include "loop.h"
#include "socket_pool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <unistd.h>
// after those above
#include <cmocka.h>

#define KEPT 16

static struct {
	unsigned asked[2]; /* questions of AF_INET, of AF_INET6 */
	int refuse;        /* -EAGAIN: the question cannot be put */
} maker;

static int ask(void *context, sa_family_t family)
{
	assert_ptr_equal(context, &maker);
	if (maker.refuse)
		return maker.refuse;
	maker.asked[family == AF_INET6]++;
	return 0;
}

struct customer {
	struct socket_pool_waiter waiter;
	int got; /* 0: nothing yet */
	struct socket_pool *again;
};

static unsigned turn;

static void customer_ready(struct socket_pool_waiter *waiter, int fd)
{
	struct customer *customer = container_of(waiter, struct customer, waiter);

	assert_int_equal(customer->got, 0);
	customer->got = fd >= 0 ? (int)++turn : fd;
	if (fd >= 0)
		close(fd);
	else if (customer->again)
		assert_int_equal(socket_pool_take(customer->again, AF_INET, &customer->waiter), -EINPROGRESS);
}

static int customer_take(struct socket_pool *socket_pool, struct customer *customer, sa_family_t family)
{
	*customer = (struct customer){ .waiter = { .ready = customer_ready } };
	return socket_pool_take(socket_pool, family, &customer->waiter);
}

static void supply(struct socket_pool *socket_pool, sa_family_t family, size_t n)
{
	int fds[32];

	for (size_t i = 0; i < n; i++)
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	socket_pool_supply(socket_pool, family, fds, n, 0);
}

static int count_fds(void)
{
	int count = 0;
	DIR *fds = opendir("/proc/self/fd");

	while (readdir(fds))
		count++;
	closedir(fds);
	return count;
}

static int fds_before;

static int setup(void **state)
{
	maker = (typeof(maker)){ 0 };
	turn = 0;
	fds_before = count_fds();
	*state = socket_pool_new(ask, &maker);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	socket_pool_free(*state);
	return count_fds() == fds_before ? 0 : -1;
}

static void the_first_one_waits_and_a_stock_is_laid_in(void **state)
{
	struct customer customer;

	assert_int_equal(maker.asked[0] + maker.asked[1], 0);
	assert_int_equal(customer_take(*state, &customer, AF_INET6), -EINPROGRESS);
	assert_int_equal(maker.asked[0], 0);
	assert_int_equal(maker.asked[1], 5); /* 16 and one more, four at a time */
	supply(*state, AF_INET6, 4);
	assert_int_equal(customer.got, 1);
	for (int i = 0; i < 4; i++)
		supply(*state, AF_INET6, 4);
	assert_int_equal(maker.asked[1], 5);
	for (int i = 0; i < KEPT; i++) {
		int fd = customer_take(*state, &customer, AF_INET6);
		assert_true(fd >= 0);
		close(fd);
	}
	/* What was asked for is under way: nobody asks twice for it. */
	assert_int_equal(maker.asked[1], 5 + KEPT / 4);
}

static void who_came_first_is_served_first(void **state)
{
	struct customer customers[10];

	for (int i = 0; i < 10; i++)
		assert_int_equal(customer_take(*state, &customers[i], AF_INET), -EINPROGRESS);
	socket_pool_cancel(&customers[0].waiter);
	socket_pool_cancel(&customers[9].waiter);
	socket_pool_cancel(&customers[4].waiter);
	socket_pool_cancel(&customers[4].waiter);
	supply(*state, AF_INET6, 2); /* of no use to them */
	for (int i = 0; i < 3; i++)
		supply(*state, AF_INET, 3);
	static const int turns[10] = { 0, 1, 2, 3, 0, 4, 5, 6, 7, 0 };
	for (int i = 0; i < 10; i++)
		assert_int_equal(customers[i].got, turns[i]);
}

static void many_who_wait_are_counted(void **state)
{
	struct customer customers[100];

	for (int i = 0; i < 100; i++)
		assert_int_equal(customer_take(*state, &customers[i], AF_INET), -EINPROGRESS);
	assert_int_equal(maker.asked[0], (100 + KEPT) / 4);
	for (int i = 0; i < (100 + KEPT) / 4; i++)
		supply(*state, AF_INET, 4);
	assert_int_equal(turn, 100);
	assert_int_equal(maker.asked[0], (100 + KEPT) / 4);
}

static void an_answer_that_is_shorter_is_made_up_for(void **state)
{
	struct customer customer;

	assert_int_equal(customer_take(*state, &customer, AF_INET), -EINPROGRESS);
	unsigned asked = maker.asked[0];
	supply(*state, AF_INET, 1);
	assert_int_equal(customer.got, 1);
	assert_int_equal(maker.asked[0], asked); /* four times four are still to come */
	supply(*state, AF_INET, 1);
	assert_int_equal(maker.asked[0], asked + 1);
}

static void more_than_the_stock_holds_is_closed(void **state)
{
	struct customer customer;
	int before = count_fds();

	assert_int_equal(customer_take(*state, &customer, AF_INET), -EINPROGRESS);
	supply(*state, AF_INET, 30);
	assert_int_equal(count_fds(), before + KEPT);
}

static void an_error_is_told_to_all_who_wait_and_nobody_goes_on_asking(void **state)
{
	struct customer customers[3];

	for (int i = 0; i < 3; i++)
		customer_take(*state, &customers[i], AF_INET);
	unsigned asked = maker.asked[0];
	socket_pool_supply(*state, AF_INET, NULL, 0, -EPERM);
	for (int i = 0; i < 3; i++)
		assert_int_equal(customers[i].got, -EPERM);
	for (unsigned i = 1; i < asked; i++)
		socket_pool_supply(*state, AF_INET, NULL, 0, -EPERM);
	assert_int_equal(maker.asked[0], asked);
	/* The next one tries again. */
	assert_int_equal(customer_take(*state, &customers[0], AF_INET), -EINPROGRESS);
	assert_true(maker.asked[0] > asked);
	supply(*state, AF_INET, 4);
	assert_int_equal(customers[0].got, 1);
}

static void who_comes_back_from_an_error_is_not_told_of_it_twice(void **state)
{
	struct customer customer;

	customer_take(*state, &customer, AF_INET);
	customer.again = *state;
	socket_pool_supply(*state, AF_INET, NULL, 0, -EMFILE);
	assert_int_equal(customer.got, -EMFILE);
	assert_non_null(customer.waiter.shelf);
	socket_pool_cancel(&customer.waiter);
}

static void a_question_that_cannot_be_put_is_put_with_the_next_answer(void **state)
{
	struct customer customer;

	assert_int_equal(customer_take(*state, &customer, AF_INET), -EINPROGRESS);
	assert_int_equal(maker.asked[0], 5);
	maker.refuse = -EAGAIN;
	supply(*state, AF_INET, 1);
	supply(*state, AF_INET, 1);
	assert_int_equal(maker.asked[0], 5);
	maker.refuse = 0;
	supply(*state, AF_INET, 1);
	assert_true(maker.asked[0] > 5);
}

static void nobody_waits_for_an_answer_that_nobody_was_asked_for(void **state)
{
	struct customer customer;

	maker.refuse = -ENOMEM;
	assert_int_equal(customer_take(*state, &customer, AF_INET), -ENOMEM);
	assert_null(customer.waiter.shelf);
	maker.refuse = 0;
	assert_int_equal(customer_take(*state, &customer, AF_INET), -EINPROGRESS);
	supply(*state, AF_INET, 4);
	assert_int_equal(customer.got, 1);
}

static void both_families_are_asked_for_with_the_next_answer(void **state)
{
	static const sa_family_t families[] = { AF_INET, AF_INET6 };
	struct socket_pool *socket_pool = *state;

	for (int i = 0; i < 2; i++) {
		struct customer customer;
		assert_int_equal(customer_take(socket_pool, &customer, families[i]), -EINPROGRESS);
		unsigned asked = maker.asked[i];
		maker.refuse = -EAGAIN;
		supply(socket_pool, families[i], 1);
		supply(socket_pool, families[i], 0);
		assert_int_equal(maker.asked[i], asked);
		maker.refuse = 0;
		supply(socket_pool, families[i], 0);
		assert_true(maker.asked[i] > asked);
	}
}

static void without_a_maker_what_is_there_is_all(void **state)
{
	struct customer customers[2];

	customer_take(*state, &customers[0], AF_INET);
	supply(*state, AF_INET, 2);
	assert_int_equal(customer_take(*state, &customers[1], AF_INET6), -EINPROGRESS);
	unsigned asked = maker.asked[0] + maker.asked[1];
	socket_pool_end(*state);
	assert_int_equal(customers[1].got, -EPIPE);
	int fd = customer_take(*state, &customers[0], AF_INET);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(customer_take(*state, &customers[0], AF_INET), -EPIPE);
	assert_int_equal(customer_take(*state, &customers[0], AF_INET6), -EPIPE);
	assert_int_equal(maker.asked[0] + maker.asked[1], asked);
	socket_pool_end(NULL);
	socket_pool_free(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_first_one_waits_and_a_stock_is_laid_in),
		TEST(who_came_first_is_served_first),
		TEST(many_who_wait_are_counted),
		TEST(an_answer_that_is_shorter_is_made_up_for),
		TEST(more_than_the_stock_holds_is_closed),
		TEST(an_error_is_told_to_all_who_wait_and_nobody_goes_on_asking),
		TEST(who_comes_back_from_an_error_is_not_told_of_it_twice),
		TEST(a_question_that_cannot_be_put_is_put_with_the_next_answer),
		TEST(nobody_waits_for_an_answer_that_nobody_was_asked_for),
		TEST(both_families_are_asked_for_with_the_next_answer),
		TEST(without_a_maker_what_is_there_is_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
