/* Numbers as they are written in configuration text, and what libconfig makes of them. Its versions differ: 0660 is 660 for 1.5 and
 * 432, octal, since 1.7; 0b11 is a number since 1.8; a hexadecimal number of more than 31 bits is negative for some. usher reads the same text
 * the same way with each of them: only what they agree on gets to libconfig. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

enum number {
	NUMBER_NONE,    /* 10s, 0o660, 0b11, 1.2.3 */
	NUMBER_DECIMAL, /* 10, 010, 10L: leading zeros mean nothing */
	NUMBER_HEX,     /* 0x1f */
	NUMBER_REAL,    /* 1.5, 1e3; the digits of an exponent with a sign are a number of their own */
};

/* The form of a word that begins with a digit, without the sign before it. */
enum number number_form(const char *word, size_t len);

/* Beyond what all versions take for a whole number: 31 bits, 63 of a decimal one that ends in L. */
bool number_is_too_large(const char *word, size_t len);

/* Turns the leading zeros of a whole number into blanks; a sign that stands right before it moves along. `text` is where the
 * text begins that the word is in. */
void number_strip_zeros(const char *text, char *word, size_t len);

/* What is wrong with the libconfig that this process has loaded: it reads some number as another one. NULL: nothing. Looked at
 * once. */
const char *numbers_fault(void);
