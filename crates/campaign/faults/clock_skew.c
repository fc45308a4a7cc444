/* A clock that is wrong by CLOCK_SKEW_S seconds: the time of day alone, durations stay right. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
  int (*next)(clockid_t, struct timespec *);
  *(void **)&next = dlsym(RTLD_NEXT, "clock_gettime");
  int outcome = next(clock, now);
  const char *skew = getenv("CLOCK_SKEW_S");
  if (outcome == 0 && clock == CLOCK_REALTIME && skew != NULL) now->tv_sec += atol(skew);
  return outcome;
}
