/* The one line that a session leaves in the log. */
#pragma once
#include "session.h"

enum log_level session_log_level(const struct session *session, enum session_end end);
void session_log(const struct session *session, enum log_level level, enum session_end end);
const char *session_error_text(int error); /* of a delivery, a -errno */
