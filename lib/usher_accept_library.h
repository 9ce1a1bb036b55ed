/* Where libusher-accept.so is installed. The build makes the file with it: another prefix compiles nothing else. */
#pragma once

extern const char usher_accept_library[];
