/* The names that a session is known by once it is decided. */
#pragma once
#include "session.h"

/* Copies sni, alpn and host out of the findings, which point into bytes that do not stay. */
void session_keep_names(struct session *session, const struct findings *findings);
