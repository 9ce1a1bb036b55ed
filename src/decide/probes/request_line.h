/* The first lines of RTSP and SIP, which have the form of HTTP's. For probes. */
#pragma once
#include "evidence.h"

/* Does it begin with empty lines or none, a method (a token of RFC 9110 5.6.2) and a space? YES: `ret_target` is where the
 * target begins. */
enum verdict request_method_skip(const uint8_t *bytes, size_t len, size_t *ret_target);

/* Is what begins at `at` a target (no controls, no spaces), a space, and `protocol`: a word in lower case with a slash and
 * a version behind it? YES with its last byte. */
enum verdict request_target_match(const uint8_t *bytes, size_t len, size_t at, const char *protocol);

/* Settles `host` once the target that begins at `at` has ended: what is behind its scheme's colon, slashes and a user's name, to
 * the port or a parameter (RFC 3261 25.1, RFC 7826 20.3). Without a value if there is no such name, or the target is longer than
 * any that is taken. */
void request_host_settle(struct findings *findings, const uint8_t *bytes, size_t len, size_t at);

/* Does it begin with an answer: `protocol` as above, a space, a status of three digits and a space? */
enum verdict response_match(const uint8_t *bytes, size_t len, const char *protocol);
