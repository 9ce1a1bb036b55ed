/* The backend's own banner, where its client has seen another's. */
#pragma once
#include "server_banner.h"

/* A server whose own banner is of this kind, and which the client must not see a second time. */
enum banner_skipped { BANNER_SKIPPED, BANNER_AWAITED, BANNER_UNLIKE };
enum banner_skipped banner_skip(int fd, enum server_banner kind);
