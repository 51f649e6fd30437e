#include "node/noded.h"

int main(int argc, char **argv)
{
	return noded_main(argc, argv);
}
