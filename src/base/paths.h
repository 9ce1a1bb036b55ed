/* Where the installation puts what usher looks for. All that depends on the prefix is in this one file, which the build makes, so
 * that another prefix compiles nothing else. */
#pragma once

extern const char path_configuration[]; /* /etc/usher/usher.conf */
extern const char path_access_policy[]; /* /etc/usher/access.conf */
extern const char path_modules[];       /* the folder of modules that are named without one */
extern const char path_libwrap[];       /* usher-libwrap; "": it was not built */
