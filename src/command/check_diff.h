/* What a reload would change. */
#pragma once

/* Compares the configuration in `file` with the one that an usher runs under, which is asked at `socket`, else where the file says, and
 * prints the differences. The exit status: 0 whether there are any or not. */
int check_diff(const char *file, const char *socket);
