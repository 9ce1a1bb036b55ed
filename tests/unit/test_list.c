/* A linked list, checked from both ends after each of many random changes against an array. */
#include "list.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
// after those above
#include <cmocka.h>

#define N 8

struct one {
	int number;
	struct list_item item;
};

static void check(const struct list *list, const int *numbers, size_t n)
{
	struct list_item *at = list->first;

	for (size_t i = 0; i < n; i++, at = at->next)
		assert_int_equal(list_of(at, struct one, item)->number, numbers[i]);
	assert_null(at);
	at = list->last;
	for (size_t i = n; i-- > 0; at = at->previous)
		assert_int_equal(list_of(at, struct one, item)->number, numbers[i]);
	assert_null(at);
}

static void it_is_in_order_whatever_is_added_and_removed(void **state)
{
	struct one ones[N];
	struct list list = { 0 };
	int numbers[N];
	size_t n = 0;

	srandom(443);
	for (int i = 0; i < N; i++)
		ones[i].number = i;
	for (int round = 0; round < 20000; round++) {
		int number = (int)(random() % N);
		size_t at = 0;
		while (at < n && numbers[at] != number)
			at++;
		if (at < n) {
			list_remove(&list, &ones[number].item);
			assert_null(ones[number].item.next);
			assert_null(ones[number].item.previous);
			memmove(numbers + at, numbers + at + 1, (--n - at) * sizeof(numbers[0]));
		} else if (random() % 2) {
			list_append(&list, &ones[number].item);
			numbers[n++] = number;
		} else {
			list_prepend(&list, &ones[number].item);
			memmove(numbers + 1, numbers, n++ * sizeof(numbers[0]));
			numbers[0] = number;
		}
		check(&list, numbers, n);
	}
}

static void no_item_is_in_nothing(void **state)
{
	struct list list = { 0 };

	assert_null(list_of(list.first, struct one, item));
	assert_null(list_of(list.last, struct one, item));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_in_order_whatever_is_added_and_removed),
		cmocka_unit_test(no_item_is_in_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
