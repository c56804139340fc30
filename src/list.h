/* A list threaded through its members, so that putting something into it can't fail. */
#ifndef NXA_LIST_H
#define NXA_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct nxa__list nxa__list;

typedef struct nxa__link {
  struct nxa__link *previous, *next;
  nxa__list *list; /* the one it is in, or NULL */
  void *owner;
} nxa__link;

struct nxa__list {
  nxa__link *first, *last;
  size_t count;
};

static inline void nxa__list_append(nxa__list *list, nxa__link *link) {
  link->list = list;
  link->next = NULL;
  link->previous = list->last;
  if (list->last)
    list->last->next = link;
  else
    list->first = link;
  list->last = link;
  list->count++;
}

/* Takes out a link that is in this list. */
static inline void nxa__list_cut(nxa__list *list, nxa__link *link) {
  if (link->previous)
    link->previous->next = link->next;
  else
    list->first = link->next;
  if (link->next)
    link->next->previous = link->previous;
  else
    list->last = link->previous;
  link->previous = link->next = NULL;
  link->list = NULL;
  list->count--;
}

/* Does nothing to a link that is in no list. */
static inline void nxa__list_remove(nxa__link *link) {
  if (link->list)
    nxa__list_cut(link->list, link);
}

/* Takes the first out and returns its owner, NULL where the list is empty. */
static inline void *nxa__list_take(nxa__list *list) {
  nxa__link *link = list->first;
  if (!link)
    return NULL;
  nxa__list_cut(list, link);
  return link->owner;
}

static inline bool nxa__list_empty(const nxa__list *list) {
  return list->first == NULL;
}

#endif
