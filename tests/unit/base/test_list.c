/* SPDX-License-Identifier: MIT */
#include "base/list.h"

#include <check.h>
#include <stdlib.h>

#include "../suite.h"
#include "base/attr.h"

struct item {
	int number;
	struct list link;
};

static struct list head;
static struct item items[4];

static void setup(void)
{
	list_init(&head);
	for (int i = 0; i < (int)ARRAY_LEN(items); i++) {
		items[i].number = i;
		list_init(&items[i].link);
	}
}

/* The numbers in the list's order as digits of one decimal number; both directions must agree. */
static int digits(const struct list *l)
{
	int forward = 0;
	int backward = 0;
	int place = 1;
	for (struct list *at = l->next; at != l; at = at->next)
		forward = forward * 10 + CONTAINER_OF(at, struct item, link)->number;
	for (struct list *at = l->prev; at != l; at = at->prev) {
		backward += CONTAINER_OF(at, struct item, link)->number * place;
		place *= 10;
	}
	ck_assert_int_eq(forward, backward);
	return forward;
}

START_TEST(appends_in_order)
{
	ck_assert(list_empty(&head));
	for (int i = 1; i < 4; i++)
		list_append(&head, &items[i].link);
	ck_assert(!list_empty(&head));
	ck_assert_int_eq(digits(&head), 123);
}
END_TEST

START_TEST(removes_from_anywhere)
{
	for (int i = 1; i < 4; i++)
		list_append(&head, &items[i].link);
	list_remove(&items[2].link);
	ck_assert_int_eq(digits(&head), 13);
	ck_assert(list_empty(&items[2].link));
	list_remove(&items[2].link);
	list_remove(&items[1].link);
	ck_assert_int_eq(digits(&head), 3);
	list_remove(&items[3].link);
	ck_assert(list_empty(&head));
}
END_TEST

START_TEST(moves_all)
{
	struct list other;
	list_init(&other);
	list_move_all(&head, &other);
	ck_assert(list_empty(&head));
	list_append(&other, &items[1].link);
	list_append(&other, &items[2].link);
	list_move_all(&head, &other);
	ck_assert(list_empty(&other));
	ck_assert_int_eq(digits(&head), 12);
	list_append(&other, &items[3].link);
	list_move_all(&head, &other);
	ck_assert(list_empty(&other));
	ck_assert_int_eq(digits(&head), 123);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("list");
	TCase *c = tcase_create("list");
	tcase_add_checked_fixture(c, setup, NULL);
	tcase_add_test(c, appends_in_order);
	tcase_add_test(c, removes_from_anywhere);
	tcase_add_test(c, moves_all);
	suite_add_tcase(s, c);
	return suite_run(s);
}
