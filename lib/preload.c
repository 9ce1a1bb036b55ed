/* Looks at a program's file before it is run: LD_PRELOAD is ignored silently where it cannot work, and the server would then
 * listen beside usher.
 *
 * Reads the ELF header and the program headers, byte by byte as a file of its own machine's order; of a script it looks at
 * the interpreter, once. What it cannot read it does not refuse: exec tells better. Owns no memory. */
#include "preload.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SEGMENTS_MAX 128
#define NOTES_MAX    4096

/* Is there a note of Go's? It pads the owner's name to four bytes and counts the padding. */
static bool notes_are_of_go(const uint8_t *notes, size_t len)
{
	size_t at = 0;

	while (len - at >= sizeof(ElfW(Nhdr))) {
		ElfW(Nhdr) note;
		size_t name, description;

		memcpy(&note, notes + at, sizeof(note));
		at += sizeof(note);
		name = ((size_t)note.n_namesz + 3) & ~(size_t)3;
		description = ((size_t)note.n_descsz + 3) & ~(size_t)3;
		if (name > len - at || description > len - at - name)
			return false;
		if (note.n_namesz == 4 && name == 4 && memcmp(notes + at, "Go\0", 4) == 0)
			return true;
		at += name + description;
	}
	return false;
}

static const char *segment_refusal(int fd, const ElfW(Phdr) * segment)
{
	uint8_t bytes[NOTES_MAX] = { 0 };
	size_t want = segment->p_filesz < sizeof(bytes) ? segment->p_filesz : sizeof(bytes) - 1;
	ssize_t n = pread(fd, bytes, want, (off_t)segment->p_offset);

	if (n <= 0)
		return NULL;
	if (segment->p_type == PT_NOTE && notes_are_of_go(bytes, (size_t)n))
		return "was written in Go, which makes its system calls itself";
	if (segment->p_type == PT_INTERP && strstr((char *)bytes, "ld-musl"))
		return "is linked with another C library than this library is";
	return NULL;
}

static const char *elf_refusal(int fd)
{
	ElfW(Ehdr) header;
	bool dynamic = false;
	unsigned char ours = sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32;

	if (pread(fd, &header, sizeof(header), 0) != sizeof(header) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
		return NULL;
	if (header.e_ident[EI_CLASS] != ours || header.e_phentsize != sizeof(ElfW(Phdr)))
		return "is for another kind of machine than this library is";
	for (unsigned i = 0; i < header.e_phnum && i < SEGMENTS_MAX; i++) {
		ElfW(Phdr) segment;

		if (pread(fd, &segment, sizeof(segment), (off_t)(header.e_phoff + i * sizeof(segment))) !=
			sizeof(segment))
			return NULL;
		if (segment.p_type != PT_INTERP && segment.p_type != PT_NOTE)
			continue;
		dynamic |= segment.p_type == PT_INTERP;
		const char *why = segment_refusal(fd, &segment);
		if (why)
			return why;
	}
	return dynamic ? NULL : "is linked statically: it loads no library";
}

/* Whom the kernel gives more rights than we have gets no library of ours. */
static const char *rights_refusal(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return NULL;
	if ((st.st_mode & S_ISUID && st.st_uid != getuid()) || (st.st_mode & S_ISGID && st.st_gid != getgid()))
		return "is set-user-ID or set-group-ID: it loads no library of ours";
	if (getuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0)
		return "has file capabilities: it loads no library of ours";
	return NULL;
}

/* The interpreter of a script, or false. */
static bool script_interpreter(int fd, char *path, size_t size)
{
	char line[PATH_MAX] = "";
	ssize_t n = pread(fd, line, sizeof(line) - 1, 0);
	char *start = line + 2;

	if (n < 3 || memcmp(line, "#!", 2) != 0)
		return false;
	start += strspn(start, " \t");
	size_t len = strcspn(start, " \t\n");
	if (len == 0 || len >= size)
		return false;
	memcpy(path, start, len);
	path[len] = '\0';
	return true;
}

const char *program_refusal(const char *path)
{
	char interpreter[PATH_MAX];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	const char *why = NULL;

	if (fd >= 0 && script_interpreter(fd, interpreter, sizeof(interpreter))) {
		close(fd);
		fd = open(interpreter, O_RDONLY | O_CLOEXEC);
	}
	if (fd < 0)
		return NULL;
	why = rights_refusal(fd);
	if (!why)
		why = elf_refusal(fd);
	close(fd);
	return why;
}
