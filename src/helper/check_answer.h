/* What a backend has answered so far, held against what a check expects. */
#pragma once
#include "checks.h"
#include "evidence.h"

struct findings;

#define CHECK_ANSWER_MAX 4096 /* bytes that are looked at */

/* `word` of check_result.h, with *ret_over: the result is known; else the check goes on, and that is the result if nothing more comes in
 * time. Bytes of a datagram are all that come of it. */
uint32_t check_answer_judge(const struct check *check, const uint8_t *bytes, size_t len, bool is_datagram,
	struct findings *findings, bool *ret_over);
