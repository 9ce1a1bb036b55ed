/* Services whose backend is the name that a client asks for (`connect = "sni:443"`): which name that is, and where it may lead. */
#pragma once
#include "session.h"

/* The session's name, which it has for as long as it lives. 0; NAME_NOT_SAID; NAME_NOT_ALLOWED: not by allow_names. */
int client_name(const struct session *session, const struct target *target, const char **ret);

/* An address that such a name may have: one of the public internet, or of allow_addresses. */
bool client_name_reaches(const struct target *target, const struct address *address);
