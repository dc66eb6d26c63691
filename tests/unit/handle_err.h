#ifndef TESTS_HANDLE_ERR_H
#define TESTS_HANDLE_ERR_H

/* What open_by_handle_at(2) fails with, which stands in place of the library's; 0: it does not. */
extern int handle_err;
extern unsigned handle_fails; /* so many times; 0: until handle_err is 0 */

#endif
