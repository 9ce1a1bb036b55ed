/* LDAP and SMB: their first messages, and near misses. */
#include "probe_cases.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define NAME                                                                                                         \
	"\x20"                                                                                                       \
	"CKFDENECFDEFFCFGEFFCCACACACACACA\0"

static void ldap(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\x30\x0c\2\1\1\x60\7\2\1\3\4\0\x80\0", 12, ""),
		CASE_YES("\x30\x0c\2\1\1\x60\7\2\1\2\4\0\x80\0", 12, ""),
		CASE_YES("\x30\x84\0\0\0\x2d\2\1\7\x63\x84\0\0\0\x24\4\0\x0a\1\0", 17, ""),
		CASE_YES("\x30\x1d\2\1\1\x77\x18\x80\x16"
			 "1.3.6.1.4.1.1466.20037",
			9, ""),
		CASE_YES("\x30\x81\x80\2\4\1\2\3\4\x60\x77\2\1\3\4\4cn=a", 16, ""),
		CASE_MORE("\x30"),
		CASE_MORE("\x30\x0c\2\1\1\x60\7\2\1\3"),
		/* SNMP has a string there; Unbind with more behind it; Abandon of nothing, with more, of a long id; an odd version; lengths that do not fit */
		CASE_NO("\x30\x26\2\1\1\4\6public\xa0", 6),
		CASE_YES("\x30\5\2\1\1\x42\0", 7, ""),
		CASE_NO("\x30\7\2\1\1\x42\0", 7),
		CASE_NO("\x30\5\2\1\1\x50\0", 7),
		CASE_YES("\x30\6\2\1\2\x50\1\1", 7, ""),
		CASE_NO("\x30\7\2\1\2\x50\1\1", 7),
		CASE_NO("\x30\x0a\2\1\2\x50\5\1\1\1\1\1", 7),
		CASE_NO("\x30\x0c\2\1\1\x60\7\2\1\4", 10),
		CASE_NO("\x30\x0c\2\1\1\x60\x08\2\1\3", 7),
		CASE_NO("\x30\x0c\2\1\1\x60\7\2\1\3\4\3", 12),
		CASE_NO("\x30\x80", 2),
		CASE_NO("\x30\x85", 2),
		CASE_NO("\x30\x84\x7f\0\0", 5),
		CASE_NO("\x30\x0c\2\5", 4),
		CASE_NO("\x30\x0c\2\1\x81", 5),
		CASE_NO("\x30\x0c\4", 3),
		CASE_NO("0 think 17\n", 3),
		CASE_NO("0045git-upload-pack", 3),
	};
	CASES_CHECK("ldap", cases);
}

/* Clients that change something without a bind, as a server may allow. */
static void ldap_that_begins_with_a_change(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\x30\x13\2\1\1\x66\x0e\4\4cn=a\x30\6\x30\4\x0a\1\2", 14, ""),
		CASE_YES("\x30\x0f\2\1\1\x68\x0a\4\4cn=a\x30\2\x30\0", 14, ""),
		CASE_YES("\x30\x14\2\1\1\x6c\x0f\4\4cn=a\4\4cn=b\1\1\xff", 14, ""),
		CASE_YES("\x30\x13\2\1\1\x6e\x0e\4\4cn=a\x30\6\4\1s\4\1x", 14, ""),
		CASE_YES("\x30\x09\2\1\1\x4a\4cn=a", 11, ""),
		CASE_MORE("\x30\x09\2\1\1\x4a\4cn="),
		/* a delete of nothing, with more behind it, of what is no text; no name; a name that does not fit; other parts */
		CASE_NO("\x30\5\2\1\1\x4a\0", 7),
		CASE_NO("\x30\x0a\2\1\1\x4a\4cn=a", 7),
		CASE_NO("\x30\x09\2\1\1\x4a\4cn\1a", 10),
		CASE_NO("\x30\x0b\2\1\1\x66\6\4\0\x30\2\x30\0", 9),
		CASE_NO("\x30\x0b\2\1\1\x66\6\4\4cn=a", 9),
		CASE_NO("\x30\x0f\2\1\1\x68\x0a\4\4cn=a\4\2\x30\0", 14),
		CASE_NO("\x30\x0f\2\1\1\x6c\x0a\4\4cn=a\x30\2\x30\0", 14),
		/* answers */
		CASE_NO("\x30\x0c\2\1\1\x61\7\x0a\1\0\4\0\4\0", 6),
		CASE_NO("\x30\x0c\2\1\1\x65\7\x0a\1\0\4\0\4\0", 6),
	};
	CASES_CHECK("ldap", cases);
}

static void smb(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\0\0\0\xa4\xffSMBr\0\0\0\0\x08\1\x40", 13, ""),
		CASE_YES("\0\0\0\xd8\xfeSMB\x40\0\0\0\0\0\0\0\0\0\x1f\0", 18, ""),
		CASE_YES("\0\0\0\xd8\xfeSMB\x40\0\1\0\0\0\0\0\0\0\x1f\0", 18, ""),
		CASE_YES("\x81\0\0\x44" NAME NAME, 37, ""),
		CASE_MORE("\0\0\0\xa4\xffSMB"),
		CASE_MORE("\x81\0\0\x44\x20"),
		/* another command; an error; too short; encrypted; too long; a name that is none */
		CASE_NO("\0\0\0\xa4\xffSMBs", 9),
		CASE_NO("\0\0\0\xa4\xffSMBr\0\0\0\1", 13),
		CASE_NO("\0\0\0\x20\xffSMBr", 5),
		CASE_NO("\0\0\0\xd8\xfeSMB\x40\0\0\0\0\0\0\0\1\0", 17),
		CASE_NO("\0\0\0\xd8\xfdSMB", 5),
		CASE_NO("\0\2\0\0", 2),
		CASE_NO("\x81\0\0\x43\x20", 4),
		CASE_NO("\x81\0\0\x44\x20"
			"CKFDq",
			10),
		CASE_NO("\x81\1\0\x44", 2),
		CASE_NO("\x82\0\0\0", 1),
		CASE_NO("\0\0\0\x08\4\xd2\x16\x2f", 5),
	};
	CASES_CHECK("smb", cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ldap),
		cmocka_unit_test(ldap_that_begins_with_a_change),
		cmocka_unit_test(smb),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
