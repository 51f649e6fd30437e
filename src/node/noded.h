/* leash-noded as a function: from the command line to the exit status. */
#ifndef LEASH_NODE_NODED_H
#define LEASH_NODE_NODED_H

/* Ends with 0; 78: configuration or a foreign data directory; 65: damage that needs an operator; 74: a failed write or
 * sync; 1: anything else. */
int noded_main(int argc, char **argv);

#endif
