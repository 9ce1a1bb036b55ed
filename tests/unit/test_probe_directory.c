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
		/* SNMP has a string there; Unbind with more behind it; Abandon first; an odd version; lengths that do not fit */
		CASE_NO("\x30\x26\2\1\1\4\6public\xa0", 6),
		CASE_YES("\x30\5\2\1\1\x42\0", 7, ""),
		CASE_NO("\x30\7\2\1\1\x42\0", 7),
		CASE_NO("\x30\5\2\1\1\x50\0", 6),
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
		cmocka_unit_test(smb),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
