/*
 * An HTTP server on the loopback that does what a script says, for the tests of the core.
 *
 * One thread a connection. A request takes the first reply of the script that is unused and fits its path; without one
 * it gets 200 and "{}". Nothing waits for time: replies wait at gates that the test opens.
 */
#ifndef HTTP_FIXTURE_H
#define HTTP_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum fixture_end {
  FIXTURE_KEEP,       /* keep the connection for another request */
  FIXTURE_CLOSE,      /* close it */
  FIXTURE_HALF_CLOSE, /* send no more, and hold it until the fixture stops */
  FIXTURE_RESET,      /* close it with a reset */
  FIXTURE_HANG        /* hold it, silent, until the fixture stops */
} fixture_end;

typedef struct fixture_reply {
  const char *bytes; /* all of the answer, as sent; borrowed until the fixture stops. NULL: nothing */
  size_t length;     /* 0: up to the zero */
  size_t piece;      /* bytes a write; 0: all in one */
  const char *path;  /* only for requests of this path (without query); NULL: any */
  int gate;          /* not before fixture_open_gate(gate); 0: at once */
  size_t gate_after; /* the gate stands after so many bytes */
  fixture_end end;
  bool early; /* given once the head of the request has come; its body isn't read */
} fixture_reply;

typedef struct fixture fixture;

fixture *fixture_start(void);
/* Ends all connections and waits for their threads. */
void fixture_stop(fixture *server);
const char *fixture_url(const fixture *server); /* "http://127.0.0.1:port" */
/* The URL of a port where nobody listens, nor can while this process runs. */
const char *fixture_nobody(void);
void fixture_add(fixture *server, fixture_reply reply);
/* The same for bytes that the fixture frees when it stops. */
void fixture_add_owned(fixture *server, fixture_reply reply);
/* Adds a whole answer with Content-Length that keeps the connection. `headers` is NULL or lines ending with CRLF. */
void fixture_answer(fixture *server, int status, const char *headers, const char *body);
/* Opens all gates up to this one. */
void fixture_open_gate(fixture *server, int gate);
size_t fixture_requests(fixture *server);    /* received in all */
size_t fixture_connections(fixture *server); /* accepted in all */
/* A copy of the n-th request (from 0), head and body, zero-terminated; the caller frees it. NULL where there is none.
 */
char *fixture_request(fixture *server, size_t index);
/* Where its body begins, which is put together where it came in chunks, and its length. */
char *fixture_body(char *request, size_t *length);

#endif
