/* tree_lines - see tree_lines.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "replica/tree_merge.h"
#include "tree_lines.h"

struct mailfs_id tree_id(int n) {
    struct mailfs_id id = {{0}};

    id.b[15] = (uint8_t)n;
    return id;
}

static bool place_of(const char *text, struct tree_place *place) {
    int parent;
    static char pool[64][8];
    static unsigned next;
    char *name = pool[next++ % 64];

    if (!text || !*text)
        return false;
    assert_int_equal(sscanf(text, "%d %7s", &parent, name), 2);
    place->parent = tree_id(parent);
    place->name = name;
    return true;
}

void tree_side_of(const struct tree_line *lines, bool valid, struct tree_entry *entries,
                  struct tree_side *side) {
    size_t n;

    for (n = 0; lines[n].id; n++) {
        entries[n] = (struct tree_entry){.id = tree_id(lines[n].id),
                                         .changed_inside = lines[n].inside,
                                         .version = lines[n].version,
                                         .attr = {0700, 1, 1},
                                         .old_attr = {0700, 1, 1}};
        entries[n].was = place_of(lines[n].was, &entries[n].old);
        entries[n].is = place_of(lines[n].is, &entries[n].now);
    }
    *side = (struct tree_side){.base_valid = valid, .full = true, .entries = entries, .count = n};
}

void tree_describe(const struct tree_result *r, char *out) {
    size_t i;

    *out = '\0';
    for (i = 0; i < r->count; i++) {
        const struct tree_item *it = &r->items[i];

        if (it->present)
            out += sprintf(out, "%d:%d/%s ", it->id.b[15], it->place.parent.b[15], it->place.name);
        else if (it->aliased)
            out += sprintf(out, "%d=%d ", it->id.b[15], it->alias_of.b[15]);
    }
}

void tree_check(const struct tree_side *a, const struct tree_side *b, const char *want,
                const char *why) {
    struct tree_result *r;
    char got[256];

    assert_int_equal(tree_merge(a, b, &r), 0);
    tree_describe(r, got);
    if (strcmp(got, want) != 0)
        fail_msg("%s: \"%s\", should be \"%s\"", why, got, want);
    tree_result_free(r);
}
